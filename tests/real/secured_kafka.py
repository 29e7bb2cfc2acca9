"""A real Kafka broker as in production: TLS, users with passwords, and nobody may do what he is not allowed to.

It listens twice: for the service by SASL_SSL, and in the clear for the test run itself, which is its super user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from gateway.kafka_security import KafkaSecurity
from tests.real.certificates import Issuer
from tests.real.kafka import REQUEST_SECONDS_MAX, RealKafka
from tests.real.process import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.kafka_rights import Right
    from gateway.kafka_security import Mechanism

USER: Final = "gift-ledger"
OPERATOR: Final = "operator"
STRANGER: Final = "stranger"
"""Somebody with a password and no rights."""
PASSWORD: Final = "kafka-hidden"
"""Of all users."""
ITERATIONS: Final = 4_096

SECURED: Final = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.secured.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secured.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}" user_{operator}="{password}";
listener.name.secured.ssl.keystore.type=PEM
listener.name.secured.ssl.keystore.location={keystore}
listener.name.secured.ssl.truststore.type=PEM
listener.name.secured.ssl.truststore.location={truststore}
listener.name.secured.ssl.client.auth={client_auth}
"""


class SecuredKafka(RealKafka):
    """As :class:`RealKafka`, with a third port where one has to say who one is.

    Args:
        directory: Where its data, its certificates and its log live.
        client_certificates: Whether it asks for certificates, too.
    """

    def __init__(self, directory: Path, *, client_certificates: bool = False) -> None:
        super().__init__(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.secured_port = free_port()
        self.secured_bootstrap = f"127.0.0.1:{self.secured_port}"
        issuer = Issuer()
        self.ca = issuer.write(directory / "ca.crt")
        pair = issuer.pair(directory / "server", here=True)
        self.client_pair = issuer.pair(directory / "client", name=USER)
        self._keystore = directory / "kafka.pem"
        self._keystore.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
        self._client_auth = "required" if client_certificates else "none"

    def security(
        self, user: str = USER, password: str = PASSWORD, mechanism: Mechanism = "SCRAM-SHA-512"
    ) -> KafkaSecurity:
        """How a user speaks to it."""
        return KafkaSecurity(
            protocol="SASL_SSL",
            mechanism=mechanism,
            username=user,
            password=password,
            issuers=str(self.ca),
            certificate=str(self.client_pair.certificate) if self._client_auth == "required" else None,
            key=str(self.client_pair.key) if self._client_auth == "required" else None,
        )

    def make_users(self) -> None:
        """The users with their passwords, for SCRAM; once it runs."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            made: list[UserScramCredentialAlteration] = [
                UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, ITERATIONS), PASSWORD.encode())
                for user in (USER, OPERATOR, STRANGER)
            ]
            for done in admin.alter_user_scram_credentials(made, request_timeout=REQUEST_SECONDS_MAX).values():
                done.result(REQUEST_SECONDS_MAX)

    def allow(self, user: str, rights: Sequence[Right]) -> None:
        """Let a user do something."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        bindings = [
            AclBinding(
                ResourceType[right.kind.upper()],
                right.name,
                ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                _OPERATIONS[operation],
                AclPermissionType.ALLOW,
            )
            for right in rights
            for operation in right.operations
        ]
        for done in admin.create_acls(bindings, request_timeout=REQUEST_SECONDS_MAX).values():
            done.result(REQUEST_SECONDS_MAX)

    def _own_properties(self, listeners: str = "") -> str:
        secured = f"{listeners},SECURED://127.0.0.1:{self.secured_port}"
        return super()._own_properties(secured) + SECURED.format(
            user=USER,
            operator=OPERATOR,
            password=PASSWORD,
            keystore=self._keystore,
            truststore=self.ca,
            client_auth=self._client_auth,
        )


_OPERATIONS: Final = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
