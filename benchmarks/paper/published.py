"""Numbers of the paper, arXiv 2312.12781, with their place in it.

Only what was read there. What it shows as curves alone, or says in words, has no number here.
"""

# Table 1: test accuracy in per cent, by data set and arm. There is no DEQ on CIFAR-100 here.
ACCURACY = {
    "CIFAR-10": {"DynaLay": 92, "plain CNN": 88, "DEQ": 91},
    "CIFAR-100": {"DynaLay": 85, "plain CNN": 82},
}
# Table 1: time of the backward pass.
BACKWARD = {"DynaLay": 87, "plain CNN": 120, "DEQ": 600}
BACKWARD_UNIT = (
    "The paper gives DynaLay's time in seconds in the table and in minutes in the text, the DEQ's "
    "in minutes, and does not say whether an epoch or all of the training is meant."
)
# Fig. 3: share of the samples in per cent, by layer. No operation is chosen most.
SELECTION = {1: 25, 2: 20}
# Fig. 6: samples that accuracy is measured on, which gives ± 6 points.
MODELS_SAMPLES = 100
