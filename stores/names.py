"""Names that stores make up, and the tags that the system reserves."""

from __future__ import annotations

import random
import uuid

__all__ = [
    "DATASET_CONTEXT_TAG",
    "DEFAULT_EXPERIMENT_ID",
    "DEFAULT_EXPERIMENT_NAME",
    "NOTE_TAG",
    "PARENT_RUN_TAG",
    "RUN_NAME_TAG",
    "USER_TAG",
    "new_model_id",
    "new_run_id",
    "new_run_name",
]

DEFAULT_EXPERIMENT_ID = "0"
DEFAULT_EXPERIMENT_NAME = "Default"

RUN_NAME_TAG = "mlflow.runName"
PARENT_RUN_TAG = "mlflow.parentRunId"
USER_TAG = "mlflow.user"
NOTE_TAG = "mlflow.note.content"
DATASET_CONTEXT_TAG = "mlflow.data.context"

_ADJECTIVES = (
    "able agile amber ample apt artful bold brave breezy bright brisk calm candid careful cheery chic civil "
    "clean clear clever cosmic cozy crisp curious dapper daring deft eager earnest easy elated exact fair "
    "fancy fast fine firm fleet fond fresh frank gentle glad golden grand happy hardy honest humble ideal "
    "jolly keen kind lively loyal lucid lucky mellow merry mild modest neat nimble noble patient placid polite "
    "prime proud quick quiet rapid ready robust rosy sage serene sharp shiny silent sincere smart snug solid "
    "spry stable steady sunny sure swift tidy trusty upbeat valiant vivid warm wise witty zesty"
).split()
_ANIMALS = (
    "ant bat bear beaver bee bison boar bream buck camel carp cat cod colt condor crab crane cricket crow cub "
    "deer dog dolphin dove duck eagle eel elk ewe falcon fawn ferret finch fish flea fly foal fowl fox frog "
    "gnat goat goose grub gull hare hawk hen heron hog horse ibis jay kit koala lamb lark loon lynx mare midge "
    "mink mole moose moth mouse mule newt otter owl ox panda perch pig pike pony pug quail ram rat raven roo "
    "seal shad shark sheep shrew shrike skink skunk slug smelt snail snipe sow squid stag stoat stork swan "
    "tern toad trout turtle vole wasp whale wolf wren yak"
).split()


def new_run_id() -> str:
    """A run id: 32 lower-case hexadecimal digits."""
    return uuid.uuid4().hex


def new_model_id() -> str:
    """The id of a logged model: `m-` and 32 lower-case hexadecimal digits."""
    return f"m-{uuid.uuid4().hex}"


def new_run_name() -> str:
    """A random name of a run or of a logged model, such as `keen-otter-417`."""
    return f"{random.choice(_ADJECTIVES)}-{random.choice(_ANIMALS)}-{random.randrange(1000)}"
