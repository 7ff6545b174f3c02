"""What several commands share: options of one meaning, and how errors become exit codes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from typer.core import TyperCommand

from pipelines.run_options import Runner, Strategy

StoreOption = Annotated[
    str, typer.Option(metavar="STORE", help="Folder, file:// or s3://BUCKET/PREFIX for artifacts, runs and champions.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on one line, and nothing else.")]
ModelNameOption = Annotated[str, typer.Option(metavar="NAME", help="Name of the champion.")]

RecipeOption = Annotated[str, typer.Option(metavar="NAME", help="Named parameter set; `graft recipes` lists them.")]
BackboneOption = Annotated[str | None, typer.Option(metavar="NAME", help="Another timm classifier than the recipe's.")]
StrategyOption = Annotated[Strategy, typer.Option(help="Leave one of the two trainings out.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="STEP.PARAM=VALUE", help="Set one parameter of one step.")
]
RunnerOption = Annotated[
    Runner, typer.Option(help="Each step in a process of its own, all in this one, or each in its container.")
]
ImagePrefixOption = Annotated[
    str, typer.Option(metavar="PREFIX", envvar="GRAFT_IMAGE_PREFIX", help="Images are PREFIX + family + : + TAG.")
]
ImageTagOption = Annotated[
    str | None,
    typer.Option(metavar="TAG", envvar="GRAFT_IMAGE_TAG", help="Of the images: the tag that make images has printed."),
]


class WithSteps(TyperCommand):
    """A command with --set: of an option that is a step's it says how it is given here."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """As every command; an unknown option keeps its error."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            from pipelines.parameters import settings_of

            known = settings_of(getattr(error, "option_name", ""))
            if known:
                error.possibilities = known  # type: ignore[attr-defined]
            raise


RESUMES = "the same command goes on after the last step that was done"


@contextmanager
def exit_codes() -> Iterator[None]:
    """Errors that a user can mend become one line and an exit code; a crash keeps its traceback."""
    from components.interchange.errors import in_words

    try:
        yield
    except Exception as error:
        words = in_words(error)
        if not words:
            raise
        print(f"graft: {words}", file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print(f"graft: interrupted; {RESUMES}", file=sys.stderr)
        raise typer.Exit(130) from None
    except SystemExit:
        print(f"graft: ended by SIGTERM; {RESUMES}", file=sys.stderr)
        raise
