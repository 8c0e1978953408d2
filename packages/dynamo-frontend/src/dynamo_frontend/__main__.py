"""`python -m dynamo_frontend`."""

from dynamo_frontend.frontend import Deployment, main, parser

__all__ = ["Deployment", "main", "parser"]

if __name__ == "__main__":
    main()
