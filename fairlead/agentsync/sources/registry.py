"""Which fetcher knows which kind of repository.

Another package adds one through the entry-point group `fairlead.manifest_sources`: the name is the scheme of the URLs
that it answers for (`s3`), the object a callable that takes a `FetcherContext` and returns a `Fetcher`. Git, chart
repositories and OCI registries are built in and come first: a plug-in cannot stand between them and their users.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final

from fairlead.agentsync.sources._urls import Location
from fairlead.agentsync.sources.port import Fetcher, FetcherContext, FetcherFactory, SourceError

GROUP: Final = "fairlead.manifest_sources"
GIT_SCHEMES: Final = frozenset({"https", "http", "ssh", "file"})


class Fetchers:
    """Finds fetchers of URL schemes that are not Git's, and makes each once.

    Args:
        context: what they are made with.
        extra: more of them, by scheme; they take precedence over installed ones.
    """

    def __init__(self, context: FetcherContext, extra: Mapping[str, FetcherFactory] | None = None) -> None:
        self._context = context
        self._extra = dict(extra or {})
        self._made: dict[str, Fetcher] = {}

    def fetcher(self, place: Location) -> Fetcher:
        """Return the fetcher of a URL.

        Raises:
            SourceError: there is none, or it cannot be loaded: this source cannot work, others can.
        """
        if place.scheme not in self._made:
            self._made[place.scheme] = self._factory(place)(self._context)
        return self._made[place.scheme]

    def _factory(self, place: Location) -> FetcherFactory:
        if place.scheme in self._extra:
            return self._extra[place.scheme]
        for point in entry_points(group=GROUP, name=place.scheme):
            try:
                factory: FetcherFactory = point.load()
            except (ImportError, AttributeError) as error:
                raise SourceError(f"the plug-in {point.value} cannot be loaded: {error}") from error
            return factory
        raise SourceError(f"repoURL {place.shown}: no plug-in of {GROUP} knows {place.scheme}://")
