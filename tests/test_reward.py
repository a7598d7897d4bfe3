"""The reward is CIDEr, and learning from it makes rewarded captions likelier."""

import numpy as np
import pytest
import torch

from tests.support.tiny import draw_photo, tiny_captioner
from training.data.dataset import collate_captions
from training.evaluation.metrics import cider_scores
from training.loop.learner import Learner
from training.objectives.reward import CiderReward, self_critical_loss

REFERENCES = [
    ["A dog runs on grass.", "a brown dog running over the green grass", "Dog, running!"],
    ["Two men sit on a bench.", "two people on a wooden bench"],
    ["A girl in a red dress jumps.", "a girl jumping into the water", "the girl jumps"],
]
CAPTIONS = ["a brown dog runs on the grass", "two two people on a dog", "a girl"]


def test_reward_is_cider():
    """Without the end as a word it is pycocoevalcap's CIDEr to the last digits."""
    reward = CiderReward(REFERENCES, end=False)
    names = ["a", "b", "c"]
    for caption in CAPTIONS:
        ours = [reward(i, [caption])[0] for i in range(3)]
        theirs = cider_scores(
            dict.fromkeys(names, caption), dict(zip(names, REFERENCES, strict=True))
        )
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
    captioner = tiny_captioner(seed=3)
    with torch.no_grad():
        for p in captioner.decoder.parameters():
            if p.dim() == 2:
                p.div_(6)
    features = captioner.encode([draw_photo(), draw_photo(colour=(10, 60, 200))]).clone()

    class Counting:
        """Rewards captions for their length, and remembers what was asked."""

        def __init__(self):
            self.asked = []

        def __call__(self, image, captions):
            self.asked.append((image, captions))
            return [float(len(c)) for c in captions]

    reward = Counting()
    torch.manual_seed(0)
    features.requires_grad_()
    loss = self_critical_loss(captioner, features, torch.tensor([7, 4]), reward, samples=6)
    loss.backward()
    assert [image for image, _ in reward.asked] == [7, 4]
    assert all(len(captions) == 6 for _, captions in reward.asked)
    assert features.grad.abs().sum() > 0  # the encoder would learn, too

    def likelihoods():
        out = []
        for row, (_, captions) in enumerate(reward.asked):
            for text in captions:
                tokens = [*captioner.tokenizer.encode(text)[0], captioner.tokenizer.end]
                ids = [captioner.tokenizer.start, *tokens]
                given, labels = collate_captions([[ids]])
                with torch.no_grad():
                    logits = captioner(given, image_features=features[row : row + 1])
                said = logits.log_softmax(-1).gather(-1, labels[..., None]).sum()
                out.append(float(said))
        return np.array(out)

    lengths = [len(text) for _, captions in reward.asked for text in captions]
    best, worst = int(np.argmax(lengths)), int(np.argmin(lengths))
    assert lengths[best] > lengths[worst]
    before = likelihoods()
    with torch.no_grad():
        for p in captioner.decoder.parameters():
            if p.grad is not None:
                p -= 0.02 * p.grad
    gained = likelihoods() - before
    assert gained[best] > gained[worst]
    assert not captioner.decoder.training


def test_no_difference_no_gradient():
    captioner = tiny_captioner(seed=3)
    features = captioner.encode([draw_photo()]).clone()
    loss = self_critical_loss(
        captioner, features, torch.tensor([0]), lambda image, said: [3.0] * len(said), samples=3
    )
    assert loss.item() == pytest.approx(0, abs=1e-7)


def test_peoples_captions_beside_the_reward():
    """With no reward at all, what is left is the usual loss, at its weight."""
    captioner = tiny_captioner(seed=3)
    ids = [captioner.tokenizer.start, *captioner.tokenizer.encode("a brown dog")[0]]
    tokens, labels = collate_captions([[[*ids, captioner.tokenizer.end]]])
    batch = dict(
        tokens=tokens,
        labels=labels,
        image=torch.tensor([0]),
        image_features=captioner.encode([draw_photo()]).clone(),
    )
    usual = Learner(captioner, 0.1)(**batch)["loss"]
    both = Learner(captioner, 0.1, lambda image, said: [3.0] * len(said), 3, 0.25)(**batch)["loss"]
    assert both.item() == pytest.approx(usual.item() / 4, rel=1e-5)
