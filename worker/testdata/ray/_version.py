# As in an installation of Ray.
commit = "{{RAY_COMMIT_SHA}}"
version = "2.60.0"
