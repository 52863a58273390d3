"""Inception beside its peers on equal weights: largest differences, and the tests' golden values.

    pip install pytorch-fid torch-fidelity torchvision      (in an environment of its own)
    python -m benchmarks.inception_peer

Run from the root of the repository. No weights are downloaded: both get those of `seeded`.
"""

import time

import torch
from tests.nn.test_inception import picture, seeded

from likewise.nn.inception import Network, resize


def main() -> None:
    import pytorch_fid.inception as peer
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x as peer_resize,
    )

    torch.set_num_threads(1)
    state = seeded()
    peer.load_state_dict_from_url = lambda *_, **__: state
    theirs = peer.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    ours = Network().eval()
    ours.load_state_dict(state)
    for size in ((28, 28), (32, 32), (299, 299), (500, 320)):
        x = torch.randint(0, 256, (1, 3, *size)).float()
        difference = (resize(x) - peer_resize(x, (299, 299), align_corners=False)).abs().max()
        print(f"| resize from {size[0]}x{size[1]}: largest difference | {float(difference):.1e} |")
    x = picture()
    with torch.no_grad():
        start = time.process_time()
        features = ours(x)
        seconds = time.process_time() - start
        large = (peer_resize(x, (299, 299), align_corners=False) - 128) / 128
        golden = theirs(large)[0][:, :, 0, 0]
    difference = float((features - golden).abs().max())
    mean = float(golden.mean())
    print(f"| 2048 features of mean {mean:.2f}: largest difference | {difference:.1e} |")
    print(f"| seconds a picture, one thread | {seconds:.2f} |")
    print("GOLDEN =", tuple(round(value, 5) for value in golden[0, 50::190].tolist()))


if __name__ == "__main__":
    main()
