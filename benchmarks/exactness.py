"""How exact the families are: each figure beside the bound that it must keep.

    python -m benchmarks.exactness

Run from the root of the repository: the closed forms and peers are those of the test suite.
"""

import itertools
import warnings

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from tests.families import test_flow as flow
from tests.families import test_gmm as gmm
from tests.families import test_pixelcnn as pixelcnn
from tests.families import test_vae as vae

from likewise.core.rng import Draws
from likewise.nn.mixture import Mixture, Prior, climb, expect


def say(what: str, value: float, bound: str) -> None:
    print(f"| {what} | {value:.2e} | {bound} |")


@torch.no_grad()
def pixelcnn_mass() -> float:
    model = pixelcnn._model((1, 3, 3), 2, pixelcnn.LABELS, head="categorical").double()
    total = model.log_prob(pixelcnn._all((1, 3, 3), 2), None).exp().sum()
    return abs(float(total) - 1)


@torch.no_grad()
def flow_inverse(trained) -> float:
    x, kind = flow.moons(500)
    c = {"label": (kind, torch.ones(500, dtype=torch.bool))}
    return float((trained.decode(trained.encode(x, c), c) - x).abs().max())


@torch.no_grad()
def flow_inverse_pictures() -> float:
    space = flow.Continuous(shape=(1, 8, 8))
    model = flow.make(space, (), wild=0.05)
    x = 2 * Draws(1).normal(32, 1, 8, 8)
    model.prepare(flow.Pairs(x, space), rng=Draws(0))
    return float((model.from_noise(model.to_noise(x, None)[0], None) - x).abs().max())


def flow_log_determinant() -> float:
    shape = (1, 3, 3)
    model = flow.make(flow.bounded(shape), (flow.LABELS,)).double()
    x = (0.5 * Draws(2).normal(2, *shape)).clamp(-1, 1).double()
    c = flow.labelled(2)
    _, ours = model.to_noise(x, c)
    errors = []
    for row in range(2):
        one = {"label": (c["label"][0][row : row + 1], c["label"][1][row : row + 1])}
        jacobian = torch.autograd.functional.jacobian(
            lambda value, one=one: model.to_noise(value[None], one)[0][0], x[row]
        )
        truth = torch.linalg.slogdet(jacobian.reshape(x[row].numel(), -1))[1]
        errors.append(abs(ours[row].item() - truth.item()))
    return max(errors)


@torch.no_grad()
def flow_integral(trained) -> float:
    points, area = flow.grid(-5.0, 6.0, 330)
    c = {"label": (torch.ones(len(points)).long(), torch.ones(len(points), dtype=torch.bool))}
    return abs(float(trained.log_prob(points, c).exp().sum() * area) - 1)


@torch.no_grad()
def vae_closed_form() -> float:
    torch.manual_seed(0)
    model, truth = vae.pca()
    x = torch.tensor(truth.rvs(40, random_state=0)).float()
    exact = torch.tensor(truth.logpdf(x.numpy())).float()
    return float((model.log_prob(x, draws=3) - exact).abs().max())


@torch.no_grad()
def vae_largest_fall() -> float:
    """The largest fall of the bound when the draws double; never above 0."""
    torch.manual_seed(0)
    model, truth = vae.pca(orthogonal=False)
    model.encoder.net.bias.data[2:] += 0.8
    x = torch.tensor(truth.rvs(400, random_state=0)).float()
    bounds = [float(model.log_prob(x, draws=2**k).mean()) for k in range(9)]
    return max(a - b for a, b in itertools.pairwise(bounds))


def gmm_against_scikit_learn(covariance: str) -> float:
    x = gmm.blobs(300)[0].double()
    shape = {"full": (3, 2, 2), "tied": (1, 2, 2), "diag": (3, 2)}[covariance]
    identity = torch.ones(shape) if covariance == "diag" else torch.eye(2).expand(shape)
    precisions = identity[0].numpy() if covariance == "tied" else identity.numpy()
    peer = GaussianMixture(
        3, covariance_type=covariance, reg_covar=1e-6, tol=0, max_iter=12,
        weights_init=np.full(3, 1 / 3), means_init=x[:3].numpy(), precisions_init=precisions,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.fit(x.numpy())
    weights = torch.full((3,), 1 / 3).double().log()
    start = Mixture(weights, x[:3].clone(), identity.double(), torch.zeros(3).long())
    floor = torch.zeros(2) if covariance == "diag" else torch.zeros(2, 2)
    rows = [(part, torch.zeros(len(part)).long()) for part in x.split(70)]
    *_, (ours, _) = itertools.islice(climb(rows, start, Prior(floor, 0.0, 1e-6)), 12)
    return abs(expect(rows, ours)[1] - peer.score(x.numpy()))


def gmm_largest_fall() -> float:
    x, _ = gmm.blobs(400, centres=((-1, 0), (1, 0), (0, 1)))
    fixed = {"components": 4, "shrinkage": 0.0, "floor": 1e-6}
    settings = {**fixed, "tolerance": 0.0, "passes": 40}
    falls = []
    for covariance in ("full", "tied", "diag"):
        _, losses = gmm.learned(x, covariance=covariance, **settings)
        falls.append(max(b - a for a, b in itertools.pairwise(losses)))
    return max(falls)


def main() -> None:
    torch.set_num_threads(1)
    trained = flow.trained.__wrapped__() if hasattr(flow.trained, "__wrapped__") else None
    trained = trained or flow.trained._get_wrapped_function()()
    print("| figure | measured | must be |\n|---|---|---|")
    say("PixelCNN: |sum of the masses of all 2^9 binary 3x3 pictures - 1|", pixelcnn_mass(), "0")
    say("Flow: largest inverse error, trained, 2-D", flow_inverse(trained), "< 1e-4")
    say("Flow: largest inverse error, 8x8 pictures", flow_inverse_pictures(), "< 1e-4")
    say("Flow: |log-determinant - autograd's|, float64", flow_log_determinant(), "0")
    say("Flow: |integral of the 2-D density - 1|", flow_integral(trained), "< 1e-2")
    say("VAE: |bound - closed form|, linear-Gaussian, nats", vae_closed_form(), "< 1e-3")
    say("VAE: largest fall of the bound as draws double 1..256", vae_largest_fall(), "<= 0")
    for covariance in ("full", "tied", "diag"):
        what = f"GMM {covariance}: |log-likelihood - scikit-learn's| from the same start"
        say(what, gmm_against_scikit_learn(covariance), "< 1e-6")
    say("GMM: largest fall of the likelihood over 40 passes", gmm_largest_fall(), "<= 0")


if __name__ == "__main__":
    main()
