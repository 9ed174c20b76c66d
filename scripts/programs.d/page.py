"""The parts of docs/programs.md that scripts/programs --options prints."""

import datetime
import platform
import shlex

import recipes

SITUATIONS = ("TERM", "TERM-INT", "CI")
INITS = ("tini", "stepdown", "options")


def line(recipe):
    words = ["stepdown", recipe.options, "--", recipe.command]
    return f"`{' '.join(word for word in words if word)}`"


def facts(table, programs):
    known = [(program.name, recipes.RECIPES[program.name]) for program in programs]
    known += [(f"{name} (not run here)", recipe) for name, recipe in recipes.NOT_RUN]
    lines = [[name, line(recipe), recipe.why] for name, recipe in known]
    told = [[name, recipe.stops, recipe.second, recipe.foreground] for name, recipe in known]
    return (
        table(["program", "what to write", "why"], lines)
        + "\n\n"
        + table(["program", "stops by", "another signal meanwhile", "in the foreground"], told)
    )


def worse(tini, ours):
    """Why these options are no good, or nothing."""
    if "failed" in ours:
        return ours["failed"]
    if "failed" in tini:
        return ""
    # Whose KILL it was: the situation's or this script's, or that of stepdown.
    if ours["status"] == 137 and not ours["killed"]:
        return "killed by stepdown"
    if ours["killed"] and not tini["killed"]:
        return "does not end"
    if tini["request"] and not ours["request"]:
        return "request cut"
    return "no orderly end" if tini["well"] and not ours["well"] else ""


def played_with():
    """Which versions were played, as far as a reader needs it."""
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"Run with the packages of {system}, and the newest ones of PyPI on {datetime.date.today()}."


def options_of(program):
    recipe = recipes.RECIPES.get(program.name)
    return shlex.split(recipe.options) if recipe else []
