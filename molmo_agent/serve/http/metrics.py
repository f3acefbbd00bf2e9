"""Numbers of a server for Prometheus. Needs the extra ``serve``."""

from typing import Any

from molmo_agent.errors import MissingExtraError

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_QUESTIONS = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counts requests, answers and batches; each server has its own.

    Raises:
        MissingExtraError: the extra is not installed.
    """

    def __init__(self) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise MissingExtraError("agent serve", "serve") from error
        self._library: Any = prometheus_client
        self._registry = registry = prometheus_client.CollectorRegistry()
        options: dict[str, Any] = {"registry": registry, "namespace": "molmo_agent"}
        self._requests = prometheus_client.Counter("requests", "Requests.", ["route", "status"], **options)
        self._seconds = prometheus_client.Histogram(
            "request_seconds", "Seconds from a request to its last byte.", ["route"], buckets=_SECONDS, **options
        )
        self._answers = prometheus_client.Counter("answers", "Answers by status.", ["model", "status"], **options)
        self._batches = prometheus_client.Histogram(
            "batch_questions", "Questions in a batch.", ["model"], buckets=_QUESTIONS, **options
        )
        self._model_seconds = prometheus_client.Histogram(
            "model_seconds", "Seconds of a batch in the model.", ["model"], buckets=_SECONDS, **options
        )
        self._queue = prometheus_client.Gauge("queue_questions", "Questions that wait.", ["model"], **options)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request. ``route`` is one of the server's own paths, never what a client wrote."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_answer(self, model: str, status: str) -> None:
        """Count an answer by its status; "words" for an answer in words."""
        self._answers.labels(model, status).inc()

    def count_batch(self, model: str, questions: int, seconds: float) -> None:
        """Count a batch."""
        self._batches.labels(model).observe(questions)
        self._model_seconds.labels(model).observe(seconds)

    def watch_queue(self, model: str, length: Any) -> None:
        """Report the length of a queue, a function without arguments."""
        self._queue.labels(model).set_function(length)

    def text(self) -> tuple[bytes, str]:
        """Return all numbers in Prometheus's text format, and its media type."""
        return self._library.generate_latest(self._registry), self._library.CONTENT_TYPE_LATEST
