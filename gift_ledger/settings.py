"""All settings of the service, each with its bounds and what it is for: the one definition behind code, help and docs.

:mod:`gift_ledger.sources` reads them, once; each room gets a struct of its own, made here.
"""

import os
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from actors.settings import SOCKET_PATH_BYTES_MAX, ActorSettings
from gateway.bridge_settings import BridgeSettings
from gateway.kafka_security import KafkaSecurity
from gateway.settings import GatewaySettings
from gift_ledger.contradictions import contradictions
from gift_ledger.endpoints import Endpoints
from gift_ledger.given_settings import GivenSettings
from gift_ledger.given_tokens import tokens
from ledger.codes import Salable
from ledger.money import DAY_MS, HOUR_MS, SECOND_MS
from ledger.policy import Policy
from persistence.redis_address import complete
from persistence.settings import StorageSettings

SOCKET_NAME_BYTES_MAX: Final = 40
"""Room that ``run_dir`` has to leave for the name of a socket, e.g. ``certificates-00-4711.sock``."""


class SettingsError(Exception):
    """A setting is unknown, missing, or has a value that it cannot have. The message says which one and what to do."""


class Settings(GivenSettings, frozen=True, kw_only=True):
    """The settings in force, and what each part is told of them."""

    def __repr__(self) -> str:
        return f"Settings(data_dir={self.data_dir!r})"  # others are secret

    def contradictions(self) -> list[str]:
        """What is wrong between settings that are each valid; empty if nothing is."""
        found = contradictions(self)
        if len(set(self.topics())) < len(self.topics()):
            found.append("Two topics have the same name: give each of the topic_… settings its own.")
        longest = SOCKET_PATH_BYTES_MAX - SOCKET_NAME_BYTES_MAX
        if self.channel == "unix" and len(os.fsencode(self.run_path)) > longest:
            found.append(
                f"run_dir: {self.run_path} is too long for sockets, at most {longest} bytes: set a shorter one."
            )
        return found

    @property
    def data_path(self) -> Path:
        """The data folder, absolute: Ray's workers run elsewhere."""
        return Path(self.data_dir).expanduser().absolute()

    @property
    def secrets_file(self) -> Path:
        """The file of pepper and sealing keys, absolute."""
        return self._path(self.secrets_path, "secrets.json")

    @property
    def http_certificate(self) -> str:
        """The file of the gateway's certificate, absolute; empty if it speaks plain HTTP."""
        return self._given(self.http_tls_cert) or ""

    @property
    def run_path(self) -> Path:
        """The folder of the sockets, absolute; two data folders on one machine have two."""
        if self.run_dir is not None:
            return Path(self.run_dir).expanduser().absolute()
        name = blake2b(os.fsencode(self.data_path), digest_size=4).hexdigest()
        return Path(tempfile.gettempdir()) / f"gift-ledger-{os.getuid()}-{name}"

    @property
    def code_prefixes(self) -> tuple[str, ...]:
        """The prefixes of our own codes; the first one is that of a new batch."""
        return tuple(self.codes_prefixes.split(","))

    def topics(self) -> tuple[str, ...]:
        """The names of all topics."""
        return tuple(str(getattr(self, name)) for name in self.__struct_fields__ if name.startswith("topic_"))

    def at(self, endpoints: Endpoints) -> "Settings":
        """These settings with what is unset filled in from a running stack."""
        return replace(
            self,
            redis_url=self.redis_url or endpoints.redis,
            kafka_bootstrap=self.kafka_bootstrap or endpoints.kafka,
            sms_url=self.sms_url or endpoints.sms_inbox or None,
            ray_address=self.ray_address or endpoints.ray,
        )

    def storage(self) -> StorageSettings:
        """How the log is reached.

        Raises:
            SettingsError: no address of Redis is known.
        """
        if self.redis_url is None:
            raise SettingsError(
                "redis_url is not set: set GIFT_LEDGER_REDIS_URL, or start a stack with `gift-ledger up`."
            )
        return StorageSettings(
            redis_url=complete(
                self.redis_url,
                self.redis_password,
                {
                    "ssl_ca_certs": self._given(self.redis_tls_ca),
                    "ssl_certfile": self._given(self.redis_tls_cert),
                    "ssl_keyfile": self._given(self.redis_tls_key),
                },
            ),
            partitions=self.partitions,
            prefix=self.redis_prefix,
            timeout_seconds=self.redis_timeout_seconds,
            connections_max=self.redis_connections_max,
            replicas=self.redis_replicas,
            allow_unsafe=self.redis_allow_unsafe,
            secrets_path=str(self.secrets_file),
        )

    def actors(self) -> ActorSettings:
        """Placement and bounds of the actors."""
        return ActorSettings(
            placement=self.placement,
            shards=self.shards,
            dedicated_max=self.dedicated_max,
            namespace=self.ray_namespace,
            ray_address=self.ray_address,
            residents_max=self.residents_max,
            idle_seconds=self.idle_seconds,
            batch_max=self.batch_max,
            mailbox_max=self.mailbox_max,
            snapshot_every=self.snapshot_every,
            timer_poll_seconds=self.timer_poll_seconds,
            request_timeout_seconds=self.request_timeout_seconds,
            channel=self.channel,
            channel_host=self.channel_host,
            run_dir=str(self.run_path),
            channel_token_path=str(self._path(self.channel_token_path, "channel.token")),
        )

    def http(self) -> GatewaySettings:
        """How the HTTP gateway listens."""
        return GatewaySettings(
            host=self.http_host,
            port=self.http_port,
            tls_cert=self.http_certificate or None,
            tls_key=self._given(self.http_tls_key),
            # a little more than the ledger's own time-out, which knows better what happened
            deadline_seconds=self.request_timeout_seconds + 1.0,
            requests_in_flight_max=self.http_requests_max,
            connections_max=self.http_connections_max,
            connections_address_max=self.http_connections_address_max,
            trusted_proxies=self.http_trusted_proxies,
            rate_per_second=self.http_rate_per_second,
            guess_window_seconds=self.guess_window_seconds,
            guess_address_wrong_max=self.guess_address_wrong_max,
            guess_client_wrong_max=self.guess_client_wrong_max,
            guess_right_per_wrong=self.guess_right_per_wrong,
            bulk_items_in_flight_max=self.http_bulk_items_max,
            bulk_body_bytes_max=self.http_bulk_bytes_max,
            idle_seconds=self.http_idle_seconds,
            drain_seconds=self.http_drain_seconds,
            keys_refresh_seconds=self.keys_refresh_seconds,
            keys_stale_seconds_max=self.keys_stale_seconds,
            tokens=tokens(self),
            code_prefixes_checked=() if self.codes == "any" else self.code_prefixes,
        )

    def bridge(self) -> BridgeSettings:
        """Where Kafka and the SMS gateway are.

        Raises:
            SettingsError: no address of Kafka is known.
        """
        if self.kafka_bootstrap is None:
            raise SettingsError(
                "kafka_bootstrap is not set: set GIFT_LEDGER_KAFKA_BOOTSTRAP, or start a stack with `gift-ledger up`."
            )
        return BridgeSettings(
            bootstrap=self.kafka_bootstrap,
            security=KafkaSecurity(
                protocol=self.kafka_security_protocol,
                mechanism=self.kafka_sasl_mechanism,
                username=self.kafka_username,
                password=self.kafka_password,
                issuers=self._given(self.kafka_tls_ca),
                certificate=self._given(self.kafka_tls_cert),
                key=self._given(self.kafka_tls_key),
            ),
            group=self.kafka_group,
            sales_orders=self.topic_sales_orders,
            payments=self.topic_payments,
            states=self.topic_states,
            transactions=self.topic_transactions,
            dead_letters=self.topic_dead_letters,
            sms_url=self.sms_url or "",
        )

    def policy(self) -> Policy:
        """The numbers of the business."""
        return Policy(
            reservation_ttl_ms=round(self.reservation_hours * HOUR_MS),
            certificate_lifetime_ms=round(self.certificate_lifetime_days * DAY_MS),
            void_after_expiry_ms=round(self.void_after_expiry_days * DAY_MS),
            hold_ttl_ms=self.hold_seconds * SECOND_MS,
            cvc_attempts_free=self.cvc_attempts_free,
            cvc_lock_first_ms=round(self.cvc_lock_first_seconds * SECOND_MS),
            cvc_lock_max_ms=round(self.cvc_lock_max_seconds * SECOND_MS),
            codes=Salable(self.codes),
            code_prefixes=self.code_prefixes,
            errand_retry_ms=round(self.errand_retry_seconds * SECOND_MS),
        )

    def _given(self, path: str | None) -> str | None:
        """A file as every process finds it, wherever it runs."""
        return None if path is None else str(self._path(path, ""))

    def _path(self, given: str | None, name: str) -> Path:
        return self.data_path / name if given is None else Path(given).expanduser().absolute()
