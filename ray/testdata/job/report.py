"""A program that an example runs as a job."""

import os

print("the report of", os.environ["MONTH"], "is ready")
