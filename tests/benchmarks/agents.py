"""Environment steps of CartPole per second: ours and gymnasium's alone, and ours while agents learn.

Alone, everybody takes the same pushes, drawn before; an episode that ends is started again. Gymnasium has an
environment for one pole, and one for several, which steps all of them in NumPy. Ours are stepped one after another by
one thread, as the training does. One step of theirs is compared with ours before anything is timed.

Agents learn by PPO with its defaults: four environments, and four passes over 512 steps in four minibatches. The policy
and the value have two hidden layers of 64. Gymnasium does not learn. Its environment of four poles alone stands beside
the agents, as a limit of what a learner around it could do on one thread.
"""

from functools import partial

import numba
import numpy as np

import lookahead_nb as lnb
from lookahead_nb.kernels.cpu.agents import LONGEST_EPISODE, TRAINING, move, start_episode
from tests.benchmarks.measure import QUICK, Rival, alternate, frame_of, markdown, publish, ratio, significant

OURS, THEIRS = Rival(None, "ours"), Rival(None, "gymnasium")
COUNTS = 1, 4, 1024  # environments that are stepped alone
LEARNERS = 4  # environments of an agent
AGREEMENT = 1e-12  # of states after a step; a float64 has 2e-16
ABOUT = """Steps of CartPole per second. Alone, on one thread: ours in compiled code, gymnasium's environment, and for
several its vector environment. Then ours while agents learn by PPO, next to gymnasium's four environments alone."""


@numba.njit(error_model="numpy", nogil=True)
def play(states, lengths, episodes, actions, seed):
    """Push every pole at every step, starting again after the end; return the number of ended episodes."""
    ended = 0
    for t in range(actions.shape[0]):
        for e in range(states.shape[0]):
            failed = move(states[e], actions[t, e])
            lengths[e] += 1
            if failed or lengths[e] == LONGEST_EPISODE:
                ended += 1
                episodes[e] += 1
                lengths[e] = 0
                start_episode(seed, episodes[e], e, TRAINING, states[e])
    return ended


def actions_of(count, steps):
    """Return random pushes, (steps, environments)."""
    return np.random.default_rng(0).integers(0, 2, (steps, count))


class Ours:
    """Our environments, stepped one after another."""

    def __init__(self, count, steps):
        self.actions = actions_of(count, steps)
        self.states = np.stack([lnb.agents.CartPole(environment=e).state for e in range(count)])
        self.lengths, self.episodes = np.zeros(count, np.int64), np.zeros(count, np.int64)

    def __call__(self):
        return play(self.states, self.lengths, self.episodes, self.actions, np.uint64(0))


class Gymnasium:
    """Gymnasium's environments: one, or several side by side in NumPy, which start again by themselves."""

    def __init__(self, count, steps):
        import gymnasium

        self.actions, self.alone = actions_of(count, steps), count == 1
        if self.alone:
            self.env = gymnasium.make("CartPole-v1")
        else:
            self.env = gymnasium.make_vec("CartPole-v1", num_envs=count, vectorization_mode="vector_entry_point")
        self.env.reset(seed=0)

    def __call__(self):
        step = self.env.step
        if not self.alone:
            for action in self.actions:
                step(action)
            return
        for action in self.actions[:, 0].tolist():
            _, _, terminated, truncated, _ = step(action)
            if terminated or truncated:
                self.env.reset()


def difference(count):
    """Return by how much a state differs after one step from the same states."""
    ours, theirs = Ours(count, 1), Gymnasium(count, 1)
    inner = theirs.env.unwrapped
    inner.state = tuple(ours.states[0]) if theirs.alone else ours.states.T.copy()
    ours(), theirs()
    after = np.array(inner.state)
    return float(np.abs(after - (ours.states[0] if theirs.alone else ours.states.T)).max())


def learn(agents, threads, env_steps):
    """Train agents on so many threads."""
    all_threads = numba.get_num_threads()
    numba.set_num_threads(threads)
    lnb.agents.sweep(lnb.agents.Policy((64, 64)), [lnb.Adam(0.0025)], seeds=agents, env_steps=env_steps, episodes=1)
    numba.set_num_threads(all_threads)


def quarters(what, rival, environments, agents, steps, seconds):
    """Return a row of the table of data."""
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return {"what": what, "library": rival.library, "thread_limit": rival.thread_limit, "environments": environments,
            "agents": agents, "steps": steps, "seconds": median, "seconds_low": low, "seconds_high": high,
            "steps_per_second": steps / median}  # fmt: skip


def main():
    """Measure and publish the table."""
    rounds, rows, lines = 1 if QUICK else 7, [], []
    for count in COUNTS:
        if not (differ := difference(count)) <= AGREEMENT:
            raise AssertionError(f"states must agree within {AGREEMENT} after a step, not differ by {differ:.2g}")
        steps = {OURS: 2**12 if QUICK else 2**22, THEIRS: count * (2**6 if QUICK else 2**12)}
        makers = {OURS: Ours, THEIRS: Gymnasium}
        made = {rival: make(count, steps[rival] // count) for rival, make in makers.items()}
        seconds = alternate({rival: (run, 1) for rival, run in made.items()}, rounds)
        rows += [quarters("alone", rival, count, 0, steps[rival], seconds[rival]) for rival in seconds]
        per_step = {rival: values / steps[rival] for rival, values in seconds.items()}
        name = "1 environment" if count == 1 else f"{count:,} environments"
        lines.append(line_of(f"alone, {name}", per_step, OURS, THEIRS))
    env_steps, threads = 1024 if QUICK else 51_200, numba.get_num_threads()
    theirs = Gymnasium(LEARNERS, 2**6 if QUICK else 2**12)
    for agents, limit in ((1, 1), (16, threads)):
        ours = Rival(None, "ours", thread_limit=limit)
        steps = {ours: agents * env_steps, THEIRS: theirs.actions.size}
        seconds = alternate({ours: (partial(learn, agents, limit, env_steps), 1), THEIRS: (theirs, 1)}, rounds)
        rows += [
            quarters("learning" if rival is ours else "alone", rival, LEARNERS, agents, steps[rival], seconds[rival])
            for rival in seconds
        ]
        per_step = {rival: values / steps[rival] for rival, values in seconds.items()}
        several, on = f"agent{'s' if agents > 1 else ''}", f"thread{'s' if limit > 1 else ''}"
        lines.append(line_of(f"learning, {agents} {several}, {limit} {on}", per_step, ours, THEIRS))
    head = ["CartPole", "our steps/s", "gymnasium's steps/s, alone", "times as many"]
    publish(frame_of(rows), "agents", f"{ABOUT}\n\n{markdown(head, lines)}")


def line_of(name, per_step, ours, theirs):
    """Return the line of the table. per_step : rival -> seconds of a step in every round."""
    speeds = [significant(1 / np.median(per_step[rival])) for rival in (ours, theirs)]
    return [name, *speeds, significant(ratio(per_step, theirs, ours)) + "×"]


if __name__ == "__main__":
    main()
