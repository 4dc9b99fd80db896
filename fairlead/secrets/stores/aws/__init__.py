"""AWS: Secrets Manager and Parameter Store."""

from __future__ import annotations

from fairlead.core.errors import SpecError
from fairlead.secrets.stores.aws import spec as specs
from fairlead.secrets.stores.aws.client import CALL_SECONDS, AwsClient
from fairlead.secrets.stores.aws.parameter_store import ParameterStore
from fairlead.secrets.stores.aws.secrets_manager import SecretsManagerStore
from fairlead.secrets.stores.port import Capabilities, Store, StoreContext, StoreSpec

__all__ = ["AwsProvider"]


class AwsProvider:
    """Opens stores on services of AWS.

    Args:
        call_seconds: how long one call may take.
    """

    capabilities = Capabilities.READ_WRITE
    converts_found_keys = False

    def __init__(self, *, call_seconds: float = CALL_SECONDS) -> None:
        self._call_seconds = call_seconds

    def validate_spec(self, spec: StoreSpec) -> list[SpecError]:
        return specs.problems(spec)

    def is_referent(self, spec: StoreSpec) -> bool:
        return specs.is_referent(spec)

    async def open(self, spec: StoreSpec, context: StoreContext) -> Store:
        aws = specs.decode(spec)
        if problems := specs.problems(spec):
            raise problems[0]
        is_parameters = aws.service == "ParameterStore"
        client = AwsClient(
            "ssm" if is_parameters else "secretsmanager", aws, spec, context, call_seconds=self._call_seconds
        )
        return (ParameterStore if is_parameters else SecretsManagerStore)(client, prefix=aws.prefix)
