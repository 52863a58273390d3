"""The watchdog: what it makes of losses and notes."""

from likewise.train.watchdog import ALIKE, ROLLBACKS, SETTLING, VARIED, Watchdog


def feed(dog, ratio, times, start=0):
    """The actions of so many equal steps."""
    return [
        dog.after_loss(start + i, "critic", 1.0, 1.0, {"pairwise_ratio": ratio})[0]
        for i in range(times)
    ]


def test_samples_that_became_alike_and_stay_so_are_a_collapse():
    dog = Watchdog()
    feed(dog, VARIED + 0.1, 1)
    actions = feed(dog, ALIKE / 2, SETTLING)
    assert actions[:-1] == ["go"] * (SETTLING - 1)
    assert actions[-1] == "back"
    assert dog.factor == 0.5


def test_a_generator_that_has_not_yet_learned_to_vary_is_given_time():
    assert set(feed(Watchdog(), ALIKE / 2, 10 * SETTLING)) == {"go"}


def test_a_moment_of_alikeness_is_no_collapse():
    dog = Watchdog()
    for _ in range(5):
        assert set(feed(dog, VARIED + 0.1, 1)) == {"go"}
        assert set(feed(dog, ALIKE / 2, SETTLING - 1)) == {"go"}


def test_a_roll_back_starts_the_count_anew():
    dog = Watchdog()
    feed(dog, VARIED + 0.1, 1)
    feed(dog, ALIKE / 2, SETTLING)
    assert set(feed(dog, ALIKE / 2, SETTLING - 1)) == {"go"}


def test_the_last_roll_back_stops():
    dog = Watchdog()
    feed(dog, VARIED + 0.1, 1)
    actions = feed(dog, ALIKE / 2, ROLLBACKS * SETTLING)
    assert actions.count("back") == ROLLBACKS - 1
    assert actions[-1] == "stop"


def test_its_state_comes_back_whole():
    dog, other = Watchdog(), Watchdog()
    feed(dog, VARIED + 0.1, 3)
    feed(dog, ALIKE / 2, 7)
    other.load(dog.state())
    assert other == dog
