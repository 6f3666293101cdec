#!/usr/bin/env python3
"""Cut Debian's wallpapers into a data set of photographs: wallpapers.py OUT [--train N] [--val N]

Each class is a photograph; its samples are patches of 500×375 at random scales. Training patches come from the
left 60 %, those for validation from the upper half of the rest, those for testing from the lower half, so that
the three share no pixel. Writes OUT/train, OUT/val and OUT/test with a folder of JPEG files for each class.
Needs the packages mate-backgrounds, lomiri-wallpapers-16.04 and python3-pil.
"""
import argparse
import os
import random

try:
    from PIL import Image
except ImportError:
    raise SystemExit("wallpapers.py: needs the package python3-pil: sudo apt install python3-pil")

FOLDER = "/usr/share/backgrounds"
MATE = ("Aqua", "Blinds", "Dune", "FreshFlower", "Garden", "LadyBird", "RainDrops", "Storm", "TwoWings", "Wood",
        "YellowFlower")
LOMIRI = ("Bridge_by_Sander_Klootwijk", "Dragonfly_by_Bolly", "Wine_by_Jakkub_Mede",
          "aitzgorri_by_Aitzol_Berasategi", "free_by_Peter_Nerlich", "greentock_by_Peter_Nerlich",
          "picosdeeuropa_by_Aitzol_Berasategi", "seeding_by_Clements_Engelhardt", "sunset_by_Aitzol_Berasategi")
SIZE = (500, 375)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--train", type=int, default=200, help="patches a class for training (200)")
    parser.add_argument("--val", type=int, default=50, help="for validation, and for testing (50)")
    options = parser.parse_args()
    photographs = [(name.split("_")[0], f"{FOLDER}/mate/nature/{name}.jpg") for name in MATE] + \
                  [(name.split("_")[0], f"{FOLDER}/{name}.jpg") for name in LOMIRI]
    for number, (name, path) in enumerate(photographs):
        photograph = Image.open(path).convert("RGB")
        width, height = photograph.size
        parts = {"train": ((0, 0, width * 6 // 10, height), options.train),
                 "val": ((width * 6 // 10, 0, width, height // 2), options.val),
                 "test": ((width * 6 // 10, height // 2, width, height), options.val)}
        widest = min(width * 4 // 10, height // 2 * SIZE[0] // SIZE[1])
        draw = random.Random(number)
        for part, ((left, top, right, bottom), count) in parts.items():
            folder = f"{options.out}/{part}/{name.lower()}"
            os.makedirs(folder, exist_ok=True)
            for i in range(count):
                w = draw.randint(SIZE[0], widest)
                h = w * SIZE[1] // SIZE[0]
                x, y = draw.randint(left, right - w), draw.randint(top, bottom - h)
                patch = photograph.crop((x, y, x + w, y + h)).resize(SIZE, Image.LANCZOS)
                patch.save(f"{folder}/{i:04}.jpg", quality=90)
        print(f"{name:12} {width}×{height}, patches {SIZE[0]} to {widest} wide")


main()
