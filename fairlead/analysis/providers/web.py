"""Asks any HTTP server, and takes a value out of its answer.

Source: `argo-rollouts: metricproviders/webmetric`. Where we differ: a body of `null` is nil (upstream crashes), answers
are bounded in size, redirects stay on the host, and link-local addresses are refused.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fairlead.analysis._expressions import ExpressionError, Value, compact_json, parse_json
from fairlead.analysis.ports import Question
from fairlead.analysis.providers import _oauth2
from fairlead.analysis.providers._base import OneCallProvider, failed
from fairlead.analysis.providers._http import Answer, ExchangeError, Request, exchange
from fairlead.analysis.spec import WebMetric
from fairlead.analysis.status import Measurement
from fairlead.core import jsonpath

SECONDS: Final = 10.0
_SECONDS_MAX: Final = 3600.0
_WITH_BODY: Final = ("POST", "PUT")


class WebProvider(OneCallProvider):
    """One request per measurement."""

    async def measure(self, question: Question) -> Measurement:
        """Return the verdict on what the server answers now."""
        started_at = self.tools.clock.now()
        metric = question.metric
        web = metric.provider.web
        assert web is not None, "the registry hands over metrics with a web block only"
        try:
            template = jsonpath.compile(web.json_path or "{$}")
            answer = await self._ask(web)
            if not answer.is_good:
                raise ExchangeError(f"received non 2xx response code: {answer.status}")
            result, shown = _result(answer.body, template)
        except (ExchangeError, ExpressionError, jsonpath.JsonPathError) as error:
            return msgspec.structs.replace(failed(str(error), self.tools.clock.now()), started_at=started_at)
        return self.judged(metric, result, shown, started_at, {})

    async def _ask(self, web: WebMetric) -> Answer:
        headers = {header.key: header.value for header in web.headers}
        body = _body(web)
        if web.json_body is not None:
            headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
            headers["Content-Type"] = "application/json"
        seconds = min(float(web.timeout_seconds), _SECONDS_MAX) if web.timeout_seconds > 0 else SECONDS
        guard, limit = self.settings.guard, self.settings.body_bytes_max
        oauth2 = web.authentication.oauth2
        if oauth2.token_url:
            headers["Authorization"] = await _oauth2.token(
                oauth2, guard, headers=headers, insecure=web.insecure, seconds=seconds, body_bytes_max=limit
            )
        request = Request(
            method=web.method or "GET",
            url=web.url,
            headers=headers,
            body=body,
            seconds=seconds,
            insecure=web.insecure,
        )
        return await exchange(request, guard, body_bytes_max=limit)


def _body(web: WebMetric) -> bytes | None:
    """Return what to send; compact JSON for `jsonBody`.

    Raises:
        ExchangeError: the combination makes no sense; upstream's texts.
    """
    if web.body and web.json_body is not None:
        raise ExchangeError("use either Body or JSONBody; both cannot exists for WebMetric payload")
    if not web.body and web.json_body is None:
        return None
    if (web.method or "GET") not in _WITH_BODY:
        raise ExchangeError("Body/JSONBody can only be used with POST or PUT WebMetric Method types")
    return web.body.encode() if web.body else msgspec.json.encode(web.json_body, order="sorted")


def _result(body: bytes, template: jsonpath.JsonPath) -> tuple[Value, str]:
    """Return what the conditions see of a body, and what people see of it.

    A body that is no JSON is a text, and the template is not used: `OK` is a text, `200` a number.

    Raises:
        JsonPathError: the template finds nothing.
        ExpressionError: the data nests too deeply.
    """
    text = body.decode("utf-8", "replace")
    try:
        data = parse_json(text)
    except ExpressionError as error:
        if "depth" in error.text:
            raise
        return Value.text(text), text
    try:
        found = template.find(data)
    except jsonpath.JsonPathError as error:
        raise jsonpath.JsonPathError(f"Could not find JSONPath in body: {error}") from None
    if not found:
        raise jsonpath.JsonPathError("result of web metric produced no value")
    return Value.json(found[0]), compact_json(found[0])
