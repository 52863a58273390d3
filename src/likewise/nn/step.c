/* The blocks of a transformer over a few new places of each row, in one call; see compiled.py.

   Shapes: n rows, w new places of each, d width, h heads of size s, g heads of keys and values.
   A product's weights stand in strips of outputs, two registers wide: (strips, inputs, STRIP), so
   that they are read in one sweep; what a strip gives for one place is summed in the same order whatever the batch.
   All threads walk through all phases together; at the end of an `omp for` they wait for each
   other. */

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

/* A vector is as wide as a register, and as many sums are kept at a time as there are registers. */
#if defined(__AVX512F__)
#define LANES 16
#define TILE 8 /* places that a strip is multiplied with at a time */
#elif defined(__AVX__)
#define LANES 8
#define TILE 4
#else
#define LANES 4
#define TILE 4
#endif
#define STRIP (2 * LANES)

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));

enum follows { NOTHING, SWIGLU, RELU2, GELU };

struct product {
    const float *weight, *bias; /* (strips, inputs, STRIP), (STRIP * strips,) */
    int64_t inputs, outputs;
};

struct block {
    struct product inward, outward, up, down;
    const float *gains; /* (h + g, s) of the norms of queries and keys, or NULL */
};

struct step {
    int64_t rows, places, width, heads, groups, size, blocks, room, window;
    int64_t feed, layered, threads;
    double epsilon;
    const struct block *block;
    struct product head;
    const float *cos, *sin;  /* (places of all, s), or NULL */
    const int64_t *lengths;  /* (n,) how many places of each row are filled */
    float *keys, *values;    /* (blocks, n, g, room, s) */
    float *x;                /* (n, w, d), changed in place */
    float *level;            /* (n, w, d) */
    float *all_heads;        /* (n, w, h + 2g, s) */
    float *seen;             /* (n, w, h, s) */
    float *inner;            /* (n, w, hidden) */
    float *scores;           /* (threads, room) */
    float *logits;           /* (n, w, tokens) */
};

/* e to the power of x, to 2 units in the last place; without a branch, so that loops of it are
   done in lanes: 2^n times the Taylor polynomial of what is left of x, at most ln(2) / 2. */
static inline float raised(float x)
{
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    const float n = rintf(x * 1.44269504f), r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float y = 1.0f / 5040;
    y = y * r + 1.0f / 720;
    y = y * r + 1.0f / 120;
    y = y * r + 1.0f / 24;
    y = y * r + 1.0f / 6;
    y = y * r + 0.5f;
    y = (y * r + 1.0f) * r + 1.0f;
    const union { int32_t bits; float number; } two = {.bits = ((int32_t)n + 127) << 23};
    return y * two.number;
}

/* Finish a strip of one place: `count` numbers of it go to y, or are added to it. */
static inline void finish(lanes first, lanes second, float *y, int64_t count, int follows, int add)
{
    float got[STRIP];
    memcpy(got, &first, sizeof first);
    memcpy(got + LANES, &second, sizeof second);
    if (follows == SWIGLU) {
        for (int i = 0; i < LANES; i++)
            got[i] = got[i] / (1.0f + raised(-got[i])) * got[LANES + i];
    } else if (follows == RELU2) {
        for (int i = 0; i < STRIP; i++)
            got[i] = got[i] > 0.0f ? got[i] * got[i] : 0.0f * got[i];
    } else if (follows == GELU) {
        for (int i = 0; i < STRIP; i++) { /* 0.5 (1 + tanh(z)) = 1 / (1 + exp(-2 z)) */
            const float z = 0.7978845608f * (got[i] + 0.044715f * got[i] * got[i] * got[i]);
            got[i] /= 1.0f + raised(-2.0f * z);
        }
    }
    for (int i = 0; i < count; i++)
        y[i] = add ? y[i] + got[i] : got[i];
}

/* `tile` places times one strip; inlined for each `tile`, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void tiled(
    const int tile, const float *x, const struct product *p, int64_t strip,
    float *y, int64_t stride, int follows, int add)
{
    const int64_t k = p->inputs, each = follows == SWIGLU ? LANES : STRIP;
    const float *weight = p->weight + strip * STRIP * k;
    const float *bias = p->bias + strip * STRIP;
    lanes first[TILE], second[TILE];
    for (int t = 0; t < tile; t++) {
        first[t] = *(const lanes *)bias;
        second[t] = *(const lanes *)(bias + LANES);
    }
    for (int64_t i = 0; i < k; i++) {
        lanes one = *(const lanes *)(weight + i * STRIP);
        lanes two = *(const lanes *)(weight + i * STRIP + LANES);
        for (int t = 0; t < tile; t++) {
            first[t] += one * x[t * k + i];
            second[t] += two * x[t * k + i];
        }
    }
    int64_t left = p->outputs - strip * each;
    for (int t = 0; t < tile; t++)
        finish(first[t], second[t], y + t * stride + strip * each, left < each ? left : each, follows, add);
}

/* y (m, outputs) = what follows x (m, inputs) times the weights, or that added to y. */
static void product(const float *x, const struct product *p, int64_t m, float *y, int follows, int add)
{
    const int64_t each = follows == SWIGLU ? LANES : STRIP, strips = (p->outputs + each - 1) / each;
#pragma omp for schedule(static)
    for (int64_t strip = 0; strip < strips; strip++) {
        int64_t i = 0;
        for (; i + TILE <= m; i += TILE)
            tiled(TILE, x + i * p->inputs, p, strip, y + i * p->outputs, p->outputs, follows, add);
        for (; i + 2 <= m; i += 2)
            tiled(2, x + i * p->inputs, p, strip, y + i * p->outputs, p->outputs, follows, add);
        for (; i < m; i++)
            tiled(1, x + i * p->inputs, p, strip, y + i * p->outputs, p->outputs, follows, add);
    }
}

/* y (count,) = x over its root mean square, or without its mean over its standard deviation. */
static void levelled(const float *x, float *y, int64_t count, float epsilon, int layered)
{
    float mean = 0.0f, squares = 0.0f;
    if (layered) {
#pragma omp simd reduction(+ : mean)
        for (int64_t i = 0; i < count; i++)
            mean += x[i];
        mean /= count;
    }
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < count; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    float by = 1.0f / sqrtf(squares / count + epsilon);
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = (x[i] - mean) * by;
}

static void levels(const struct step *a)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < a->rows * a->places; i++)
        levelled(a->x + i * a->width, a->level + i * a->width, a->width, a->epsilon, a->layered);
}

/* Level and turn the heads of one place: x (count, s) with gains (count, s). */
static void turned(const struct step *a, float *x, int64_t count, const float *gains, int64_t place)
{
    const int64_t s = a->size, half = s / 2;
    for (int64_t head = 0; head < count; head++, x += s) {
        if (gains) {
            levelled(x, x, s, a->epsilon, 0);
            for (int64_t i = 0; i < s; i++)
                x[i] *= gains[head * s + i];
        }
        if (a->cos) {
            const float *cos = a->cos + place * s, *sin = a->sin + place * s;
            for (int64_t i = 0; i < half; i++) {
                float one = x[i], two = x[half + i];
                x[i] = one * cos[i] + two * sin[i];
                x[half + i] = two * cos[half + i] + one * sin[half + i];
            }
        }
    }
}

/* Keys and values of the new places go into the cache of a block, queries stay where they are. */
static void remember(const struct step *a, const struct block *b, float *keys, float *values)
{
    const int64_t s = a->size, g = a->groups, h = a->heads;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < a->rows * a->places; i++) {
        const int64_t row = i / a->places, place = a->lengths[row] + i % a->places;
        float *heads = a->all_heads + i * (h + 2 * g) * s;
        turned(a, heads, h + g, b->gains, place);
        for (int64_t group = 0; group < g; group++) {
            const int64_t at = ((row * g + group) * a->room + place) * s;
            memcpy(keys + at, heads + (h + group) * s, s * sizeof(float));
            memcpy(values + at, heads + (h + g + group) * s, s * sizeof(float));
        }
    }
}

/* y (s,) = values (count, s) weighted by the softmax of q . keys (count, s). */
static void attended(const float *q, const float *keys, const float *values, float *scores,
                     float *y, int64_t count, int64_t s)
{
    const float scale = 1.0f / sqrtf(s);
    float most = -INFINITY, sum = 0.0f;
    for (int64_t t = 0; t < count; t++) {
        float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < s; i++)
            dot += q[i] * keys[t * s + i];
        scores[t] = dot * scale;
        most = scores[t] > most ? scores[t] : most;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t t = 0; t < count; t++) {
        scores[t] = raised(scores[t] - most);
        sum += scores[t];
    }
    memset(y, 0, s * sizeof(float));
    for (int64_t t = 0; t < count; t++)
#pragma omp simd
        for (int64_t i = 0; i < s; i++)
            y[i] += scores[t] * values[t * s + i];
#pragma omp simd
    for (int64_t i = 0; i < s; i++)
        y[i] /= sum;
}

static void attend(const struct step *a, const float *keys, const float *values, float *scores)
{
    const int64_t s = a->size, g = a->groups, h = a->heads, w = a->places;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < a->rows * h * w; i++) {
        const int64_t row = i / (h * w), head = i / w % h, new = i % w;
        const int64_t count = a->lengths[row] + new + 1, from = count > a->window ? count - a->window : 0;
        const int64_t at = ((row * g + head / (h / g)) * a->room + from) * s;
        attended(a->all_heads + ((row * w + new) * (h + 2 * g) + head) * s, keys + at, values + at, scores,
                 a->seen + ((row * w + new) * h + head) * s, count - from, s);
    }
}

/* Read the new places x: keys and values are filled in, x is what the last block gives. */
void read_places(const struct step *a)
{
    const int64_t m = a->rows * a->places, cached = a->rows * a->groups * a->room * a->size;
#pragma omp parallel num_threads(a->threads)
    {
        float *scores = a->scores + omp_get_thread_num() * a->room;
        for (int64_t i = 0; i < a->blocks; i++) {
            const struct block *b = a->block + i;
            float *keys = a->keys + i * cached, *values = a->values + i * cached;
            levels(a);
            product(a->level, &b->inward, m, a->all_heads, NOTHING, 0);
            remember(a, b, keys, values);
            attend(a, keys, values, scores);
            product(a->seen, &b->outward, m, a->x, NOTHING, 1);
            levels(a);
            product(a->level, &b->up, m, a->inner, a->feed, 0);
            product(a->inner, &b->down, m, a->x, NOTHING, 1);
        }
    }
}

/* How many outputs stand side by side in the weights of a product. */
int64_t strip(void) { return STRIP; }

/* The logits of places x. */
void tell(const struct step *a)
{
#pragma omp parallel num_threads(a->threads)
    {
        levels(a);
        product(a->level, &a->head, a->rows * a->places, a->logits, NOTHING, 0);
    }
}
