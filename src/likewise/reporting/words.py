"""How numbers and measures are said: three significant digits, units, plain explanations."""

import math
from dataclasses import dataclass

NOTHING = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

STATES = {
    "done": "trained",
    "training": "still training when this page was made",
    "pending": "not started when this page was made",
    "failed": "failed",
    "skipped": "skipped",
}
LIMITS = (
    "Every number is for this data, this split, this seed and this budget; another budget can "
    "rank the families otherwise.",
    "A tie is two 95 % intervals that overlap; a difference inside a tie is not a finding.",
    "The audit gives evidence of resistance to the attacks run, on the records it was run on. It "
    "says nothing about attacks that were not run.",
    "Held-out records are drawn from the same data as the training records, so nothing here "
    "says how well the data stands for the world.",
)
ROLES = {"model": "model", "baseline": "baseline", "control": "control", "floor": "floor"}
VERDICTS = {"release": "may be released", "hold": "held", "unknown": "not decided"}
RELEASE = {
    "release": "may be released",
    "hold": "is held",
    "unknown": "whether it may be released is not decided",
}
EVIDENCE = {
    "release": "The audit found evidence of resistance to the attacks run.",
    "hold": "At least one audit rule failed.",
    "unknown": "The audit could not show enough.",
    "": "It has not been audited.",
}


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a measure is.

    Attributes:
        label: its name in words.
        better: "lower", "higher" or "" where that is not known here.
        what: what it means and where it misleads.
    """

    label: str
    better: str
    what: str


_FEATURES = {
    "classifier": "features of a classifier trained on the train split only",
    "contrastive": "features of a network that taught itself, without labels, to tell the "
    "training records apart",
    "random": "features of an untrained network with fixed random weights",
    "pca": "principal components fitted on the train split only",
    "inception": "features of the Inception network",
}
CORRUPTIONS = {
    "blur": "standard deviation, in pixels of a picture 32 wide",
    "noise": "standard deviation, as a share of the range of values",
    "swapped entries": "share of the entries that come from another record",
    "dropped classes": "share that half of the classes has lost",
}
_DISTANCES = {
    "fd": (
        "Fréchet distance",
        "The distance between two Gaussians, one fitted to the features of generated records and "
        "one to those of held-out records; here {features}. It falls with n even for real "
        "records, so read it beside the real vs real row. It sees only means and covariances, "
        "and does not see copying.",
    ),
    "kd": (
        "Kernel distance",
        "The squared maximum mean discrepancy, with a polynomial kernel, between generated and "
        "held-out records; here {features}. It has no bias in n, so values near zero may be "
        "negative.",
    ),
}
_MEANINGS = {
    "precision": Meaning(
        label="Precision",
        better="higher",
        what="The share of generated records that lie among the held-out ones: how plausible "
        "they are. Read it beside the real vs real row.",
    ),
    "recall": Meaning(
        label="Recall",
        better="higher",
        what="The share of held-out records that lie among the generated ones: how much of the "
        "variety is reached. Read it beside the real vs real row.",
    ),
    "density": Meaning(
        label="Density",
        better="higher",
        what="How many neighbourhoods of held-out records a generated record falls into, against "
        "what is expected; about 1 for real records, and it may exceed 1.",
    ),
    "coverage": Meaning(
        label="Coverage",
        better="higher",
        what="The share of held-out records with a generated record in their neighbourhood; a "
        "family that repeats itself scores low.",
    ),
    "inception_score": Meaning(
        label="Inception score",
        better="higher",
        what="How surely a classifier names each generated record while it names all classes "
        "alike; between 1 and the number of classes. It looks at no held-out record.",
    ),
    "label_accuracy": Meaning(
        label="Label accuracy",
        better="higher",
        what="The share of generated records in which an outside classifier sees the label that "
        "was asked for. It looks at no held-out record, and sees no lack of variety.",
    ),
    "reconstruction": Meaning(
        label="Reconstruction",
        better="lower",
        what="How far held-out records are from what the family makes of their codes, root mean "
        "square. A family that keeps every detail has 0, whatever its samples are like.",
    ),
    "nll": Meaning(
        label="Negative log likelihood",
        better="lower",
        what="How many bits per dimension the family needs to write down held-out records; exact "
        "for some families and an upper bound for others. Families without a density have none. "
        "It says little about how samples look.",
    ),
    "bits_per_byte": Meaning(
        label="Bits per byte",
        better="lower",
        what="How many bits a byte the family needs to write down held-out texts, each read after "
        "what stands before it in its document; how much of it that is, at most, stands beside "
        "the leaderboard. The end of a document counts as a byte. It compares families whatever "
        "their tokens are, as the rate of a compressor does.",
    ),
    "bits_per_character": Meaning(
        label="Bits per character",
        better="lower",
        what="The same, divided by characters.",
    ),
    "perplexity": Meaning(
        label="Perplexity",
        better="lower",
        what="How many equally likely tokens would be as hard to guess as the held-out ones. It "
        "compares nothing between tokenisers.",
    ),
    **{
        f"distinct_{n}": Meaning(
            label=f"Distinct-{n}",
            better="higher",
            what=f"The share of runs of {n} words (of characters where texts are short) that are "
            "different from one another. More than the real vs real row has is noise.",
        )
        for n in (1, 2, 3)
    },
    "self_bleu": Meaning(
        label="Self-BLEU",
        better="lower",
        what="How much of each text stands in others. Less than the real vs real row is noise.",
    ),
    "repetition": Meaning(
        label="Repetition",
        better="lower",
        what="The share of runs of four words that stood in the same text before: loops.",
    ),
    "overlap_4": Meaning(
        label="Overlap with train",
        better="lower",
        what="The share of runs of four words that stand in training texts. Held-out texts share "
        "some too: read it beside the real vs real row.",
    ),
    "verbatim": Meaning(
        label="Verbatim",
        better="lower",
        what="The share of characters in runs of at least 50 that stand word for word in training "
        "texts.",
    ),
    "longest_run": Meaning(
        label="Longest run",
        better="lower",
        what="The longest run of characters that also stands in a training text.",
    ),
    "reference_distance": Meaning(
        label="Reference distance",
        better="lower",
        what="How many more bits a byte test texts cost a small model that learned from the "
        "generated texts than one that learned from as many real ones; 0 for real data.",
    ),
    "excess": Meaning(
        label="Excess",
        better="lower",
        what="How far the family is from what could be reached at best; how it was made says "
        "against what.",
    ),
}


def features(net: str) -> str:
    """What the features of a net are.

    Example:
        >>> features("random")
        'features of an untrained network with fixed random weights'
    """
    return _FEATURES.get(net, f"features named {net!r}")


def meaning(measure: str) -> Meaning:
    """What a measure is, also for one that is not known here.

    Example:
        >>> meaning("fd_pca").label
        'Fréchet distance (pca)'
    """
    kind, _, net = measure.partition("_")
    if kind in _DISTANCES and net:
        label, what = _DISTANCES[kind]
        return Meaning(
            label=f"{label} ({net})", better="lower", what=what.format(features=features(net))
        )
    unknown = Meaning(
        label=measure.replace("_", " ").capitalize(), better="", what="See how it was made."
    )
    return _MEANINGS.get(measure, unknown)


def number(value: float | None, digits: int = 3) -> str:
    """A number to three significant digits (or as many as asked for), or a dash.

    Example:
        >>> [number(x) for x in (0.0123456, 12.345, 1234.5, -0.5, 1.5e-7, None)]
        ['0.0123', '12.3', '1,230', '−0.500', '1.50×10⁻⁷', '–']
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if -5 < power < 6:
        shown = f"{float(f'{mantissa}e{power}'):,.{max(0, digits - 1 - power)}f}"
    else:
        shown = f"{mantissa}×10{str(power).translate(_SUPERSCRIPT)}"
    return shown.replace("-", "−")


def setting(value: object) -> str:
    """A setting or a further number, as exactly as is worth reading.

    Example:
        >>> setting(0.9999), setting(True), setting(None), setting("adam")
        ('0.9999', 'yes', 'none', 'adam')
    """
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def count(value: float | None) -> str:
    """A count in full, with its thousands set apart.

    Example:
        >>> count(1797)
        '1,797'
    """
    return NOTHING if value is None else f"{round(value):,}"


def size(value: float | None) -> str:
    """A large count, shortened.

    Example:
        >>> [size(x) for x in (812, 59_640, 1_234_567)]
        ['812', '59.6 k', '1.23 M']
    """
    if value is None or abs(value) < 1000:
        return count(value)
    for limit, letter in ((1e6, "k"), (1e9, "M")):
        if abs(value) < 0.9995 * limit:
            return f"{number(value / limit * 1000)} {letter}"
    return f"{number(value / 1e9)} G"


def duration(seconds: float | None) -> str:
    """A time in the two largest units that matter.

    Example:
        >>> [duration(s) for s in (6.04, 170.2, 4000)]
        ['6.04 s', '2 min 50 s', '1 h 7 min']
    """
    if seconds is None or abs(seconds) < 59.95:
        return NOTHING if seconds is None else f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def change(share: float | None) -> str:
    """A difference as a share of what was expected, in per cent and with its sign.

    Example:
        >>> change(0.034), change(-0.21), change(0.0004)
        ('+3 %', '−21 %', '±0 %')
    """
    if share is None:
        return NOTHING
    percent = round(100 * share)
    sign = "±" if not percent else "+" if percent > 0 else "−"
    return f"{sign}{abs(percent):,} %"


def unit(name: str) -> str:
    """A unit for a table's head; "1" is said in words."""
    return "no unit" if name == "1" else name


def listed(names: list[str]) -> str:
    """Names joined as in a sentence.

    Example:
        >>> listed(["flow", "gan", "vae"])
        'flow, gan and vae'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


FILTERS = (number, setting, count, size, duration, change, unit, listed)
