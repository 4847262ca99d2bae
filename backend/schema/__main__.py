"""`python -m backend.schema`: print the API page, docs/api.md, from the declared schema."""

import sys
from pathlib import Path

from backend.app import create_app
from backend.schema.document import document
from backend.schema.pages import markdown
from backend.settings import Settings

INTRODUCTION = Path(__file__).with_name("introduction.md")


def reference() -> str:
    """The whole page."""
    app = create_app(Settings(MSP_ID="MyOrg1MSP", CHANNELS={"mychannel": {}}))
    return INTRODUCTION.read_text("utf-8") + "\n" + markdown(document(app)).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
