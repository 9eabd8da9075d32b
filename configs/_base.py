"""What all configs share; each file in this folder changes some of it."""

from ml_collections import ConfigDict


def base() -> ConfigDict:
    """Every field with its default; a misspelt override is an error."""
    return ConfigDict(
        dict(
            seed=0,
            data=dict(name="cifar10", data_dir="", validation=5_000, seed=0),
            augment=dict(crop=0, flip=False, cutout=0, symmetries=False),
            model=dict(
                cell="concave",  # separable, cascade, scan, lstm, orthogonal, bounded, free, dense
                widths=(64, 128, 256),
                strides=(1, 2, 2),
                windows=(),  # 3×3 kernels everywhere
                gain=1.5,  # of concave cells: above 1, activity spreads at the start
                own=0.3,  # of concave cells: share of it within a channel
                offset=1.0,  # of concave cells: the offsets' deviation at the start
                hard_gates=False,  # of concave cells: whether gates can be shut wholly
                stem=0,
                last=False,  # whether the last position alone is read, as in language models
                norm=True,
                rounds=1,
                tol=1e-3,
                max_steps=30,
                solver="picard",  # damped, anderson, broyden
                adjoint="implicit",  # jacobian_free, phantom; unrolled with compact=0
                compact=16,  # smallest bucket of the compaction; 0 for none
                residual_features=False,
                agent_hidden=128,
                dtype="float32",
            ),
            objective=dict(
                alpha=0.5,
                beta=0.3,
                gamma=0.2,
                estimator="full_information",  # or reinforce, gumbel
                fraction=0.25,
                temperature=1.0,
            ),
            # Over this share of the agent's training ε and the entropy bonus fall, and no action's
            # probability is below the floor.
            exploration=dict(share=0.3, epsilon=(0.3, 0.02), entropy=(0.01, 0.0), floor=0.02),
            price_range=(0.01, 10.0),  # λ in training, log-uniform
            price=0.1,  # λ at evaluation
            prices=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),  # λ of the curve
            router="agent",  # of --mode=eval
            train=dict(
                batch_size=64,
                epochs=dict(main=20.0, agent=5.0, joint=75.0),
                learning_rate=1e-3,  # of the main model
                agent_learning_rate=1e-3,
                warmup=0.05,  # share of the updates
                weight_decay=5e-4,
                clip=1.0,
                smoothing=0.0,
                ema=0.0,  # decay; 0 for none
                accumulate=1,
                steps_per_call=20,
                straight=0.5,  # shares of the main warm-up's routing
                everything=0.1,
                everything_layers=0,  # it iterates the first so many layers; 0 for all
                exploring=0.25,  # share of the joint phase that is routed as in the warm-up
            ),
            eval_batch=512,
            eval_every=1.0,  # epochs
            checkpoint=dict(keep=3, evaluate="newest"),  # or best: of --mode=eval
        )
    )
