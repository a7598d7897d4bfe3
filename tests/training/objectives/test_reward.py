"""The reward is CIDEr, and learning from it makes rewarded captions likelier."""

import numpy as np
import pytest
import torch

from tests.support.tiny import draw_photo, tiny_captioner
from training.data.dataset import collate_captions
from training.evaluation.metrics import compute_cider_scores
from training.loop.learner import Learner
from training.objectives.reward import END, CiderReward, compute_self_critical_loss

REFERENCES = [
    ["A dog runs on grass.", "a brown dog running over the green grass", "Dog, running!"],
    ["Two men sit on a bench.", "two people on a wooden bench"],
    ["A girl in a red dress jumps.", "a girl jumping into the water", "the girl jumps"],
]
CAPTIONS = ["a brown dog runs on the grass", "two two people on a dog", "a girl"]


def test_reward_is_cider():
    """With the end as a word it is pycocoevalcap's CIDEr to the last digits."""
    reward = CiderReward(REFERENCES)
    references = {
        str(i): [f"{caption} {END}" for caption in captions]
        for i, captions in enumerate(REFERENCES)
    }
    for caption in CAPTIONS:
        ours = [reward(i, [caption])[0] for i in range(3)]
        candidates = dict.fromkeys(references, f"{caption} {END}")
        theirs = compute_cider_scores(candidates, references)
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert max(reward(0, CAPTIONS)) > 50  # else the comparison says little
    assert reward(0, [""]) == [0.0]


def test_breaking_off_costs():
    """A caption that stops in the middle earns less than one that ends as people end theirs."""
    reward = CiderReward(REFERENCES)
    whole, broken = reward(0, ["a dog runs on grass", "a dog runs on a"])
    ended, cut = reward(0, ["dog running", "dog running over"])
    assert whole > broken and ended > cut


def test_loss_points_to_the_rewarded_caption():
    """One step down the gradient: what earned more than its siblings becomes likelier."""
    network = tiny_captioner(seed=3).network
    with torch.no_grad():
        for p in network.decoder.parameters():
            if p.dim() == 2:
                p.div_(6)
    features = network.encode([draw_photo(), draw_photo(colour=(10, 60, 200))]).clone()

    class Counting:
        """Rewards captions for their length, and remembers its calls."""

        def __init__(self):
            self.calls = []

        def __call__(self, image, captions):
            self.calls.append((image, captions))
            return [float(len(c)) for c in captions]

    reward = Counting()
    torch.manual_seed(0)
    features.requires_grad_()
    loss = compute_self_critical_loss(network, features, torch.tensor([7, 4]), reward, samples=6)
    loss.backward()
    assert [image for image, _ in reward.calls] == [7, 4]
    assert all(len(captions) == 6 for _, captions in reward.calls)
    assert features.grad.abs().sum() > 0  # the encoder would learn, too

    def likelihoods():
        out = []
        for row, (_, captions) in enumerate(reward.calls):
            for text in captions:
                tokens = [*network.tokenizer.encode(text)[0], network.tokenizer.end]
                ids = [network.tokenizer.start, *tokens]
                given, labels = collate_captions([[ids]])
                with torch.no_grad():
                    logits = network(given, image_features=features[row : row + 1])
                log_probability = logits.log_softmax(-1).gather(-1, labels[..., None]).sum()
                out.append(float(log_probability))
        return np.array(out)

    lengths = [len(text) for _, captions in reward.calls for text in captions]
    best, worst = int(np.argmax(lengths)), int(np.argmin(lengths))
    assert lengths[best] > lengths[worst]
    before = likelihoods()
    with torch.no_grad():
        for p in network.decoder.parameters():
            if p.grad is not None:
                p -= 0.02 * p.grad
    gained = likelihoods() - before
    assert gained[best] > gained[worst]
    assert not network.decoder.training


def test_no_difference_no_gradient():
    network = tiny_captioner(seed=3).network
    features = network.encode([draw_photo()]).clone()
    loss = compute_self_critical_loss(
        network,
        features,
        torch.tensor([0]),
        lambda view_index, captions: [3.0] * len(captions),
        samples=3,
    )
    assert loss.item() == pytest.approx(0, abs=1e-7)


def test_peoples_captions_beside_the_reward():
    """With no reward at all, what is left is the usual loss, at its weight."""
    network = tiny_captioner(seed=3).network
    ids = [network.tokenizer.start, *network.tokenizer.encode("a brown dog")[0]]
    tokens, labels = collate_captions([[[*ids, network.tokenizer.end]]])
    batch = dict(
        tokens=tokens,
        labels=labels,
        view_index=torch.tensor([0]),
        image_features=network.encode([draw_photo()]).clone(),
    )
    usual = Learner(network, 0.1)(**batch)["loss"]
    both = Learner(network, 0.1, lambda view_index, captions: [3.0] * len(captions), 3, 0.25)(
        **batch
    )["loss"]
    assert both.item() == pytest.approx(usual.item() / 4, rel=1e-5)


def test_what_is_rare_depends_on_the_corpus():
    """Each corpus's captions earn what they would earn alone."""
    ours, theirs = REFERENCES, [[f"the {text}" for text in texts] for texts in REFERENCES]
    both = CiderReward([*ours, *theirs], ["ours"] * len(ours) + ["theirs"] * len(theirs))
    for references, offset in ((ours, 0), (theirs, len(ours))):
        alone = CiderReward(references)
        for view, texts in enumerate(references):
            assert both(view + offset, texts) == alone(view, texts)
