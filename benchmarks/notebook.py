"""The notebook's training loop, for comparison: a DataLoader with per-image transforms, batches of
64, float32, Adam with a constant learning rate.

Run python benchmarks/notebook.py EPOCHS in a folder with data/mnist. For each epoch it prints the
training speed in images/s, the cumulative training time in s, and the test accuracy in eval mode.
"""

import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "stages"))
from common.mnist import TEST, TRAIN, read_images
from common.model import DigitClassification, predict

BATCH_SIZE, LR = 64, 0.01


class Digits(Dataset):
    """Single images as in torchvision's MNIST, with the notebook's transforms."""

    def __init__(self, path):
        self.images, self.labels = map(torch.from_numpy, read_images(path))
        scaled = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])]
        self.transform = v2.Compose([v2.ToPILImage(), v2.ToImage(), *scaled])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(self.images[index][None]), self.labels[index]


def main(epochs):
    torch.manual_seed(0)
    model = DigitClassification()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    loader = DataLoader(Digits(TRAIN), BATCH_SIZE, shuffle=True)
    test_images, test_labels = map(torch.from_numpy, read_images(TEST))
    elapsed = 0.0
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
        seconds = time.perf_counter() - started
        elapsed += seconds
        accuracy = (predict(model, test_images).argmax(1) == test_labels).double().mean().item()
        rate = len(loader.dataset) / seconds
        print(f"epoch {epoch:2}  {rate:,.0f} images/s  {elapsed:.1f} s  {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
