"""DynaLay: a model whose agent chooses for each sample which layers to iterate."""

from dynalay_jax.adaptive import routers
from dynalay_jax.adaptive.agent import AgentNet, Phi
from dynalay_jax.adaptive.estimators import ESTIMATORS
from dynalay_jax.adaptive.inspect import call, certificate, costs, init, probes, shapes
from dynalay_jax.adaptive.losses import all_routes_loss, main_loss
from dynalay_jax.adaptive.macs import Costs, budget, spent
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.adaptive.objective import Objective, Reward, agent_loss
from dynalay_jax.adaptive.state import State, Sweep, Trace

__all__ = [
    "ESTIMATORS",
    "AgentNet",
    "Costs",
    "DynaLay",
    "Objective",
    "Phi",
    "Reward",
    "State",
    "Sweep",
    "Trace",
    "agent_loss",
    "all_routes_loss",
    "budget",
    "call",
    "certificate",
    "costs",
    "init",
    "main_loss",
    "probes",
    "routers",
    "shapes",
    "spent",
]
