"""A small register of claims, which trains in no time, and ways to change it."""

from lookahead_nb import claims

TEXT = """
[tasks.iris]
data = "iris"
batch_size = 16
steps = 10
eval_every = 5
eval_rows = 15
lr = 0.05
threshold = 0.7

[tasks.bowl]
landscape = "Quadratic"
curvatures = [1.0, 0.1]
noise = 1.0
steps = 10
lr = 0.1
threshold = 0.3

[C01]
section = "8.1"
article = "Larger is slower."
prediction = "Slower by one over the step."
notebook = "02_slow"
metrics = ["steps_to_threshold", "train_loss"]
tasks = ["iris", "bowl"]
seeds = 30
budget = 1e8
supported = ["slower", "not better"]
conditional = ["slower"]
condition = "at an unchanged rate"

[C01.arms.adamw]
rule = "AdamW"
lr = "given"

[C01.arms.lookahead]
rule = "AdamW"
lr = "given"
sync_period = 5
retention = [0.5, 0.8]

[C01.arms.lower]
rule = "AdamW"
lr = "given"
times = [0.5, 0.2]

[C01.arms.tuned]
rule = "AdamW"
tune = { lr = { low = 0.01, high = 1.0, number = 3 } }

[C01.arms."same rate"]
rule = "AdamW"
lr = "tuned"
sync_period = 5
retention = 0.5

[[C01.effects]]
name = "slower"
metric = "steps_to_threshold"
arm = "lookahead retention=0.8"
control = "lookahead retention=0.5"
expect = "greater"
margin = 1.25
scale = "ratio"
test = "sign flip"
tasks = ["iris"]

[[C01.effects]]
name = "better"
metric = "train_loss"
arm = "lookahead retention=0.5"
control = "lower times=0.5"
expect = "less"
margin = 0.01
scale = "difference"
test = "sign flip"

[C02]
section = "8.2"
article = "Larger is calmer."
prediction = "By the theory."
notebook = "03_period"
metrics = ["slow_risk"]
tasks = ["bowl"]
seeds = 1
budget = 0
supported = ["calmer"]

[C02.arms.lookahead]
rule = "SGD"
lr = "given"
slow_step_size = 0.5
sync_period = [5, 20]

[[C02.effects]]
name = "calmer"
metric = "slow_risk"
arm = "lookahead sync_period=20"
control = "lookahead sync_period=5"
expect = "less"
margin = 1.05
scale = "ratio"
test = "exact"

[C03]
section = "6.1"
article = "Better on ImageNet."
prediction = "None."
notebook = "02_slow"
untestable = "No ImageNet here."

[advice]
C02 = "Take a longer one."
"""


def read(folder, *changes):
    """Read the register after changes: pairs of the text that is there and what takes its place."""
    text = TEXT
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path = folder / "claims.toml"
    path.write_text(text, encoding="utf-8")
    return claims.read(path)
