"""The API server's verbs at REST semantics, in memory: what the simulated cluster and the HTTP server share.

Synchronous and without a loop: a request is atomic. Errors are those of `core.errors` with the server's texts.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from fairlead.core import patches
from fairlead.core.clock import Clock
from fairlead.core.cluster import EventType
from fairlead.core.errors import Cause, Invalid, Unavailable
from fairlead.core.objects import ObjectKey, rfc3339
from fairlead.testing import (
    custom,
    deletion,
    failures,
    last_applied,
    managed,
    paging,
    patching,
    rules,
    strategy,
    subresources,
)
from fairlead.testing.garbage import Collector
from fairlead.testing.managed import Manager
from fairlead.testing.requests import (
    CommitHook,
    DeleteOptions,
    Listing,
    ListOptions,
    PatchType,
    Target,
    WriteOptions,
)
from fairlead.testing.resources import Registry, Resource
from fairlead.testing.storage import Json, Storage, Stored, copy_json
from fairlead.testing.watching import Item, Watcher, select

OBJECT_BYTES_MAX = 1_572_864  # etcd's limit on a request, 1.5 MiB
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # of generated names: no vowels, no words
_NAME_BASE_MAX = 58


class ApiServer:
    """A Kubernetes API without a network. See `SimulatedCluster` for what it does not tell the truth about."""

    def __init__(self, clock: Clock, *, seed: int = 0, history: int = 10_000) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._addresses = 0
        self._hooks: list[CommitHook] = []
        self.storage = Storage(history=history)
        self.registry = Registry()
        self.collector = Collector(self)
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            namespaces = self.target("", "v1", "namespaces")
            self.create(namespaces, {"metadata": {"name": name}}, WriteOptions(manager="kube-apiserver"))

    # -- who and what ---------------------------------------------------------------------------------------------

    def target(
        self, group: str, version: str, plural: str, *, namespace: str = "", name: str = "", subresource: str = ""
    ) -> Target:
        """Return what a path means.

        Raises:
            NotFound: the kind, version or subresource is not served.
        """
        resource = self.registry.find(group, plural)
        if resource is None or resource.version(version) is None:
            raise failures.not_served()
        offered = {
            "": True,
            "status": resource.status,
            "scale": resource.scale is not None,
        }
        if not offered.get(subresource, subresource in resource.subresources):
            raise failures.not_served()
        return Target(
            resource=resource,
            version=version,
            namespace=namespace if resource.namespaced else "",
            name=name,
            subresource=subresource,
        )

    def on_commit(self, hook: CommitHook) -> None:
        """Call the hook after every commit: verb (`create`, `update`, `delete`), resource, old and new JSON data."""
        self._hooks.append(hook)

    @property
    def now(self) -> str:
        return rfc3339(self._clock.now())

    # -- reads ----------------------------------------------------------------------------------------------------

    def stored(self, target: Target) -> Stored:
        """Return the object that a request names.

        Raises:
            NotFound: there is none.
        """
        found = self.storage.get(target.resource.collection, target.key)
        if found is None:
            raise failures.not_found(target.resource.plural, target.resource.group, target.name)
        return found

    def get(self, target: Target) -> Stored:
        """Return the object, or the Scale of it."""
        found = self.stored(target)
        if target.subresource == "scale":
            return subresources.scale_of(target.resource, found)
        return found

    def list(self, target: Target, options: ListOptions = ListOptions()) -> Listing:  # noqa: B008 (frozen)
        """Return a page of the objects, sorted by namespace and name; pages of one list show one revision."""
        return paging.page(self.storage, target, options)

    def watch(self, target: Target, options: ListOptions = ListOptions()) -> Watcher:  # noqa: B008 (frozen)
        """Return a watcher of changes after `resource_version`; without one, of everything that is there and later.

        Raises:
            Expired: the changes since then are no longer known.
        """
        collection = target.resource.collection
        selection = select(target.resource, target.namespace, options.label_selector, options.field_selector)
        watcher = Watcher(selection)
        initial = options.initial_events
        if initial is None:
            initial = options.resource_version in ("", "0")
        if initial:
            objects = self.storage.all(collection)
            for key in sorted(objects):
                if selection.matches(objects[key]):
                    watcher.put(Item(EventType.ADDED, objects[key], objects[key].revision))
            if options.initial_events:
                watcher.put(Item(EventType.BOOKMARK, None, self.storage.revision, initial_events_end=True))
        elif options.resource_version not in ("", "0"):
            for change in self.storage.since(collection, paging.version_number(self.storage, options.resource_version)):
                watcher.push(change)
        watcher.attach(self.storage.listen(collection, watcher.push))
        return watcher

    # -- writes ---------------------------------------------------------------------------------------------------

    def create(self, target: Target, body: Mapping[str, Any], options: WriteOptions) -> Stored:
        """Store a new object, or perform a subresource that is asked by creating something."""
        if target.subresource == "eviction":
            return subresources.evict(self, target, body, options)
        if target.subresource == "binding":
            return subresources.bind(self, target, body, options)
        resource = target.resource
        data: Json = copy_json(body)
        strategy.check_identity(resource, target.version, data, target.namespace, target.name)
        metadata = data["metadata"]
        if metadata.get("resourceVersion"):
            # The real server calls its own complaint an internal error; clients see 5xx.
            raise Unavailable("resourceVersion should not be set on objects to be created", status=500)
        if target.name:
            metadata["name"] = target.name
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generate_name(metadata["generateName"])
        if resource.namespaced:
            if not target.namespace:
                raise failures.bad_request("an empty namespace may not be set during creation")
            metadata["namespace"] = target.namespace
        else:
            metadata.pop("namespace", None)
        key = ObjectKey(metadata.get("namespace", ""), metadata.get("name", ""))
        self._check_namespace(resource, key)
        for name in (*strategy.SYSTEM, "managedFields"):
            metadata.pop(name, None)
        metadata["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = self.now
        if resource.generation:
            metadata["generation"] = 1
        if resource.status and resource.collection != "nodes":  # kubelets register with their status
            data.pop("status", None)
        data, dropped = strategy.complete(resource, target.version, data)
        if options.strict:
            strategy.check_strict(resource, target.version, dropped)
        if resource.kind == "Service" and not resource.custom:
            self._allocate_address(data)
        if resource.kind == "Namespace" and not resource.custom:
            data["spec"] = {"finalizers": ["kubernetes"]}
        strategy.check(resource, target.version, data, None)
        if self.storage.get(resource.collection, key) is not None:
            raise failures.already_exists(resource.plural, resource.group, key.name)
        if resource.collection == custom.COLLECTION:
            data["status"] = custom.established(data, self.now)
        writer = self._manager(target, options, "Update", managed.field_set(data, resource.shape))
        if resource.status:
            writer = managed.replaced(writer, managed.strip(writer.fields, "status"))
        managers = (writer,) if writer.fields else ()
        return self._commit(resource, data, managers, None, options)

    def update(self, target: Target, body: Mapping[str, Any], options: WriteOptions) -> Stored:
        """Replace the object, its status or its scale."""
        resource = target.resource
        old = self.stored(target)
        if target.subresource == "scale":
            return subresources.set_scale(self, target, old, body, options)
        data: Json = copy_json(body)
        strategy.check_identity(resource, target.version, data, target.namespace, target.name)
        uid = data["metadata"].get("uid")
        if uid and uid != old.metadata["uid"]:  # only a whole object carries it as a precondition
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old.metadata['uid']}"
            raise failures.conflict(resource.plural, resource.group, target.name, why)
        if resource.custom and not data["metadata"].get("resourceVersion"):
            cause = failures.bad_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise failures.invalid(resource.plural, resource.group, target.name, (cause,))
        entries = data["metadata"].pop("managedFields", None)
        managers = old.managers if entries is None else managed.parse(entries)
        return self.replace(target, old, data, managers, options)

    def patch(self, target: Target, type_: PatchType, body: Any, options: WriteOptions) -> Stored:
        """Apply a patch; server-side apply creates what is not there."""
        if type_ is PatchType.APPLY:
            return self._apply(target, body, options)
        old = self.stored(target)
        resource = target.resource
        if target.subresource == "scale":
            scale = subresources.scale_of(resource, old)
            patched = self._patched(subresources.SCALE, scale, type_, body)
            return subresources.set_scale(self, target, old, patched, options)
        data: Json = copy_json(self._patched(resource, old, type_, body))
        strategy.check_identity(resource, target.version, self._in_version(target, data), target.namespace, target.name)
        entries = data["metadata"].pop("managedFields", None)
        managers = old.managers if entries is None else managed.parse(entries)
        return self.replace(target, old, data, managers, options)

    def _in_version(self, target: Target, data: Json) -> Json:
        if data.get("apiVersion") == target.resource.api_version():
            data["apiVersion"] = target.resource.api_version(target.version)
        return data

    def _patched(self, resource: Resource, old: Stored, type_: PatchType, body: Any) -> Any:
        # Owners are rendered only for the rare patch that speaks of them.
        speaks = "managedFields" in msgspec.json.encode(body).decode()
        live = copy_json(old.full()) if speaks else old.data
        try:
            match type_:
                case PatchType.JSON:
                    if not isinstance(body, list):
                        raise patching.PatchError("a JSON patch is a list of operations")
                    return patching.json_patch(live, body)
                case PatchType.STRATEGIC:
                    if resource.custom:
                        message = (
                            "the body of the request was in an unknown format - accepted media types include: "
                            + (", ".join((PatchType.JSON, PatchType.MERGE, PatchType.APPLY)))
                        )
                        raise Invalid(message, status=415, reason="UnsupportedMediaType")
                    if not isinstance(body, Mapping):
                        raise patching.PatchError("a strategic merge patch is an object")
                    return patching.strategic_merge(live, body, resource.shape)
                case _:
                    if not isinstance(body, Mapping):
                        raise patching.PatchError("a merge patch is an object")
                    return patches.merge(live, body)
        except patching.PatchError as error:
            if type_ is PatchType.JSON:
                # The real server says no more either; the cause of this exception does.
                message = "the server rejected our request due to an error in our request"
                raise Invalid(message, status=422, reason="Invalid") from error
            raise failures.bad_request(str(error)) from error

    def replace(
        self, target: Target, old: Stored, data: Json, managers: tuple[Manager, ...], options: WriteOptions
    ) -> Stored:
        """Store `data` in place of `old` by an ordinary write: what changed comes to belong to the writer."""
        new = self._settle(target, old, data, options)
        shape = target.resource.shape
        owners = managed.update(old.data, new, managers, self._manager(target, options, "Update"), shape)
        return self._finish(target, old, new, owners, options)

    def _settle(self, target: Target, old: Stored, data: Json, options: WriteOptions) -> Json:
        """Return what an update amounts to: preconditions hold, other parts are kept, defaulted and valid."""
        resource = target.resource
        metadata = data["metadata"]
        version = metadata.get("resourceVersion")
        if version and version != old.metadata["resourceVersion"]:
            raise failures.conflict(resource.plural, resource.group, target.name)
        uid = metadata.get("uid")
        if uid and uid != old.metadata["uid"] and target.subresource != "status":
            cause = failures.bad_value("metadata.uid", uid, rules.IMMUTABLE)
            raise failures.invalid(resource.kind, resource.group, target.name, (cause,))
        new = strategy.separate(resource, old.data, data, target.subresource)
        new["metadata"]["resourceVersion"] = old.metadata["resourceVersion"]
        new, dropped = strategy.complete(resource, target.version, new)
        if options.strict:
            strategy.check_strict(resource, target.version, dropped)
        strategy.check(resource, target.version, new, old.data, target.subresource)
        if resource.collection == custom.COLLECTION:
            new["status"] = custom.established(new, self.now)
        if strategy.wish_changed(resource, old.data, new):
            new["metadata"]["generation"] = old.metadata.get("generation", 0) + 1
        return new

    def _finish(
        self, target: Target, old: Stored, new: Json, managers: tuple[Manager, ...], options: WriteOptions
    ) -> Stored:
        if managers == old.managers and managed.same(new, old.data):
            return old  # nothing changed: no commit, no event
        if deletion.is_due(new):
            return self._remove(target.resource, old, options)
        return self._commit(target.resource, new, managers, old, options)

    def rewrite(self, resource: Resource, old: Stored, data: Mapping[str, Any]) -> Stored:
        """Store what the system itself has changed, without admission; remove it if nothing holds it any longer."""
        new = dict(data)
        if deletion.is_due(new):
            return self._remove(resource, old, WriteOptions())
        return self._commit(resource, new, old.managers, old, WriteOptions())

    def _apply(self, target: Target, body: Any, options: WriteOptions) -> Stored:
        resource = target.resource
        config: Json = copy_json(body)
        if target.subresource == "scale":
            return subresources.set_scale(self, target, self.stored(target), config, options)
        if not isinstance(config, dict) or not config.get("kind") or not config.get("apiVersion"):
            raise failures.bad_request("invalid object type: apply needs apiVersion and kind in the body")
        strategy.check_identity(resource, target.version, config, target.namespace, target.name)
        strategy.check_declared(resource, target.version, config)
        if config["metadata"].get("managedFields") is not None:
            raise failures.bad_request("metadata.managedFields must be nil")
        old = self.storage.get(resource.collection, target.key)
        if old is None:
            if target.subresource:
                raise failures.not_found(resource.plural, resource.group, target.name)
            if config["metadata"].get("uid") or config["metadata"].get("resourceVersion"):
                raise failures.conflict(resource.plural, resource.group, target.name, "uid mismatch: it does not exist")
            return self._create_by_apply(target, config, options)
        applier = self._manager(target, options, "Apply", self._config_fields(target, config))
        merged, managers, conflicts = managed.apply(
            old.data, config, old.managers, applier, resource.shape, force=options.force
        )
        if conflicts:
            if not last_applied.are_own(conflicts, options.manager, old.data, resource.shape):
                raise failures.apply_conflict(conflicts)
            merged, managers, _ = managed.apply(old.data, config, old.managers, applier, resource.shape, force=True)
        data: Json = copy_json(merged)
        last_applied.refresh(data, config, options.manager)
        new = self._settle(target, old, data, options)
        return self._finish(target, old, new, managers, options)

    def _config_fields(self, target: Target, config: Json) -> managed.Fields:
        fields = managed.field_set(config, target.resource.shape)
        if target.subresource == "status":
            return frozenset(path for path in fields if path[0] == "f:status")
        return managed.strip(fields, "status") if target.resource.status else fields

    def _create_by_apply(self, target: Target, config: Json, options: WriteOptions) -> Stored:
        applier = self._manager(target, options, "Apply", self._config_fields(target, config))
        created = self.create(target, config, replace(options, dry_run=True))
        return self._commit(target.resource, copy_json(created.data), (applier,), None, options)

    # -- deletion -------------------------------------------------------------------------------------------------

    def delete(self, target: Target, options: DeleteOptions = DeleteOptions()) -> Stored:  # noqa: B008 (frozen)
        """Remove the object, or mark it when finalizers or a grace period hold it; return its last state."""
        resource = target.resource
        old = self.stored(target)
        conditions = options.preconditions
        if conditions.uid and conditions.uid != old.metadata["uid"]:
            why = (
                f"the UID in the precondition ({conditions.uid}) does not match the UID in record "
                f"({old.metadata['uid']}). The object might have been deleted and then recreated"
            )
            raise failures.conflict(resource.kind, resource.group, target.name, why)
        version = conditions.resource_version
        if version and version != old.metadata["resourceVersion"]:
            why = (
                f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
                f"({old.metadata['resourceVersion']}). The object might have been modified"
            )
            raise failures.conflict(resource.kind, resource.group, target.name, why)
        new = copy_json(old.data)
        deletion.mark(resource, new, options, self._clock.now())
        writes = WriteOptions(manager="kube-apiserver", dry_run=options.dry_run)
        if deletion.is_due(new):
            return self._remove(resource, old, writes)
        if new == old.data:
            return old
        return self._commit(resource, new, old.managers, old, writes)

    def delete_collection(self, target: Target, which: ListOptions, options: DeleteOptions) -> tuple[Stored, ...]:
        """Delete every object that the options select."""
        listing = self.list(target, replace(which, limit=0, continue_token=""))
        return tuple(
            self.delete(replace(target, name=stored.key.name, namespace=stored.key.namespace), options)
            for stored in listing.items
        )

    # -- commits --------------------------------------------------------------------------------------------------

    def _commit(
        self, resource: Resource, data: Json, managers: tuple[Manager, ...], old: Stored | None, options: WriteOptions
    ) -> Stored:
        if len(msgspec.json.encode(data)) > OBJECT_BYTES_MAX:
            message = f"Request entity too large: limit is {OBJECT_BYTES_MAX}"
            raise Invalid(message, status=413, reason="RequestEntityTooLarge")
        if options.dry_run:
            return Stored(data, managers, old.revision if old else 0)
        stored = self.storage.put(resource.collection, data, managers)
        if resource.collection == custom.COLLECTION:
            self.registry.add(custom.resource(data))
        self.collector.committed(resource, stored, old)
        self._tell("create" if old is None else "update", resource, old, stored)
        return stored

    def _remove(self, resource: Resource, old: Stored, options: WriteOptions) -> Stored:
        if options.dry_run:
            return old
        last = self.storage.drop(resource.collection, old.key)
        if resource.collection == custom.COLLECTION:
            self.registry.remove(old.data["spec"]["group"], old.data["spec"]["names"]["plural"])
        self.collector.removed(resource, last)
        self._tell("delete", resource, old, None)
        return last

    def _tell(self, verb: str, resource: Resource, old: Stored | None, new: Stored | None) -> None:
        for hook in self._hooks:
            hook(verb, resource, old.data if old else None, new.data if new else None)

    # -- small parts ----------------------------------------------------------------------------------------------

    def _manager(
        self, target: Target, options: WriteOptions, operation: str, fields: managed.Fields = frozenset()
    ) -> Manager:
        return Manager(
            name=options.manager,
            operation=operation,
            api_version=target.resource.api_version(target.version),
            time=self.now,
            fields=fields,
            subresource=target.subresource,
        )

    def _generate_name(self, base: str) -> str:
        suffix = "".join(self._random.choice(_ALPHABET) for _ in range(5))
        return base[:_NAME_BASE_MAX] + suffix

    def _check_namespace(self, resource: Resource, key: ObjectKey) -> None:
        if not resource.namespaced:
            return
        namespace = self.storage.get("namespaces", ObjectKey("", key.namespace))
        if namespace is None:
            raise failures.not_found("namespaces", "", key.namespace)
        if "deletionTimestamp" in namespace.metadata:
            why = f"unable to create new content in namespace {key.namespace} because it is being terminated"
            cause = Cause(
                reason="NamespaceTerminating",
                message=f"namespace {key.namespace} is being terminated",
                field="metadata.namespace",
            )
            raise failures.forbidden(resource.plural, resource.group, key.name, why, (cause,))

    def _allocate_address(self, data: Json) -> None:
        spec = data["spec"]
        if spec.get("type") == "ExternalName":
            return
        if not spec.get("clusterIP"):
            self._addresses += 1
            high, low = divmod(self._addresses, 254)
            spec["clusterIP"] = f"10.96.{high}.{low + 1}"
        spec["clusterIPs"] = [spec["clusterIP"]]
