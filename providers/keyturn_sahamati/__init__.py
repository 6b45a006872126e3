"""Entity secrets and entity tokens of the Sahamati Identity & Access Management service."""
