/**
 * A Kubernetes API server as far as an agent needs one: Nodes, and what network policies need (pods, namespaces, policies), in
 * pages with continue tokens, watches from a version on with bookmarks, versions that are compacted away (410), patches of a
 * Node's status. In memory on a virtual clock (`api`), and over HTTPS (kubernetes-server.ts).
 */
import type { Clock } from '../../src/clock.ts';
import type { Answer, ApiRequest, KubernetesApi, Pending, WatchListener } from '../../src/kubernetes/api.ts';

export interface FakeNode {
  readonly kind: 'Node';
  readonly metadata: { readonly name: string; readonly uid: string; readonly resourceVersion: string };
  readonly spec: { readonly podCIDR?: string; readonly podCIDRs?: readonly string[] };
  readonly status: {
    readonly addresses: readonly { readonly type: string; readonly address: string }[];
    readonly conditions: readonly Condition[];
  };
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}

export interface NodeFacts {
  readonly addresses?: readonly string[];
  readonly podCidrs?: readonly string[];
  readonly conditions?: readonly Condition[];
}

export interface FakeObject {
  readonly metadata: {
    readonly namespace?: string;
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: object;
  readonly status?: object;
}

const PATHS = {
  pods: '/api/v1/pods',
  namespaces: '/api/v1/namespaces',
  policies: '/apis/networking.k8s.io/v1/networkpolicies',
} as const;
const NODES = '/api/v1/nodes';
export type FakeKind = keyof typeof PATHS;

interface ServedWatch {
  readonly line: (value: object) => void;
  readonly end: (answer: Answer) => void;
}

export class FakeApiServer {
  readonly nodes = new Map<string, FakeNode>();
  /** Answers in place of the server's own; undefined: its own. */
  fault: (path: string) => Answer | undefined = () => undefined;
  /** How often it was asked for what. */
  readonly counts = { pages: 0, lists: 0, places: 0, watches: 0, gets: 0, patches: 0 };
  readonly watches = new Set<ServedWatch>();
  #version = 1000;
  #oldest = 1000;
  #uids = 0;
  readonly #log: {
    readonly version: number;
    readonly path: string;
    readonly type: string;
    readonly object: object;
  }[] = [];
  /** What each of `watches` is of. */
  readonly #pathOf = new WeakMap<ServedWatch, string>();
  /** By path, then by name. */
  readonly #objects = new Map<string, Map<string, FakeObject>>(
    Object.values(PATHS).map((path) => [path, new Map()]),
  );

  put(name: string, facts: NodeFacts = {}): void {
    const before = this.nodes.get(name);
    const podCidrs = facts.podCidrs ?? before?.spec.podCIDRs ?? [];
    const node: FakeNode = {
      kind: 'Node',
      metadata: {
        name,
        uid: before?.metadata.uid ?? `uid-${++this.#uids}`,
        resourceVersion: String(++this.#version),
      },
      spec: podCidrs.length === 0 ? {} : { podCIDR: podCidrs[0]!, podCIDRs: podCidrs },
      status: {
        addresses: facts.addresses
          ? [
              { type: 'Hostname', address: name },
              ...facts.addresses.map((address) => ({ type: 'InternalIP', address })),
            ]
          : (before?.status.addresses ?? []),
        conditions: facts.conditions ??
          before?.status.conditions ?? [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
      },
    };
    this.nodes.set(name, node);
    this.#tell(NODES, before ? 'MODIFIED' : 'ADDED', node);
  }

  /** In place of one of the same name, whole. */
  putObject(kind: FakeKind, object: FakeObject): void {
    const objects = this.#objects.get(PATHS[kind])!;
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) };
    const type = objects.has(keyOf(object)) ? 'MODIFIED' : 'ADDED';
    objects.set(keyOf(object), { ...object, metadata });
    this.#tell(PATHS[kind], type, { ...object, metadata });
  }

  /** `name` in the namespace, or of it all. */
  deleteObject(kind: FakeKind, key: string): void {
    const objects = this.#objects.get(PATHS[kind])!;
    const object = objects.get(key);
    if (!object) return;
    objects.delete(key);
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) };
    this.#tell(PATHS[kind], 'DELETED', { ...object, metadata });
  }

  delete(name: string): void {
    const node = this.nodes.get(name);
    if (!node) return;
    this.nodes.delete(name);
    this.#version++;
    this.#tell(NODES, 'DELETED', {
      ...node,
      metadata: { ...node.metadata, resourceVersion: String(this.#version) },
    });
  }

  bookmark(): void {
    const object = { kind: 'Node', metadata: { resourceVersion: String(this.#version), name: '' } };
    for (const { line } of this.watches) line({ type: 'BOOKMARK', object });
  }

  /** What was before is known to nobody any more, as after a restart of the server. */
  compact(): void {
    this.#oldest = this.#version;
    this.#log.length = 0;
  }

  /** As it ends, or breaks off. */
  endWatches(answer: Answer = { status: 200, body: undefined }): void {
    for (const watch of [...this.watches]) {
      this.watches.delete(watch);
      watch.end(answer);
    }
  }

  answer({ method, path, body }: ApiRequest): Answer {
    const fault = this.fault(path);
    if (fault) return fault;
    const url = new URL(path, 'http://server');
    if (method === 'PATCH') return this.#patch(url, body ?? {});
    const name = /^\/api\/v1\/nodes\/([^/]+)$/.exec(url.pathname)?.[1];
    if (name === undefined) {
      const objects = this.#objects.get(url.pathname) ?? this.nodes;
      return this.#list([...objects.values()], url.searchParams);
    }
    this.counts.gets++;
    const node = this.nodes.get(decodeURIComponent(name));
    return node
      ? { status: 200, body: structuredClone(node) }
      : { status: 404, body: { message: `nodes "${name}" not found` } };
  }

  /** A refusal, or undefined where it is served. */
  watch(path: string, watch: ServedWatch): Answer | undefined {
    const fault = this.fault(path);
    if (fault) return fault;
    this.counts.watches++;
    const { pathname, searchParams } = new URL(path, 'http://server');
    const from = Number(searchParams.get('resourceVersion'));
    if (from < this.#oldest) {
      watch.line({
        type: 'ERROR',
        object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' },
      });
      return { status: 200, body: undefined };
    }
    for (const { version, path: of, type, object } of this.#log)
      if (version > from && of === pathname) watch.line({ type, object });
    this.#pathOf.set(watch, pathname);
    this.watches.add(watch);
    return undefined;
  }

  api(clock: Clock): KubernetesApi {
    return new MemoryApi(this, clock);
  }

  #list(all: readonly object[], query: URLSearchParams): Answer {
    const limit = Number(query.get('limit'));
    if (limit === 1) this.counts.places++;
    else this.counts.pages++;
    const [version = this.#version, start = 0] = (query.get('continue') ?? '')
      .split(':')
      .filter(Boolean)
      .map(Number);
    if (start === 0 && limit > 1) this.counts.lists++;
    if (version < this.#oldest)
      return { status: 410, body: { message: 'The provided continue parameter is too old' } };
    const isMore = start + limit < all.length;
    const metadata = {
      resourceVersion: String(version),
      ...(isMore && { continue: `${version}:${start + limit}` }),
    };
    return {
      status: 200,
      body: { kind: 'List', metadata, items: structuredClone(all.slice(start, start + limit)) },
    };
  }

  #patch(url: URL, body: object): Answer {
    this.counts.patches++;
    const name = /^\/api\/v1\/nodes\/([^/]+)\/status$/.exec(url.pathname)?.[1];
    const node = this.nodes.get(decodeURIComponent(name ?? ''));
    if (!node) return { status: 404, body: {} };
    const { conditions } = (body as { status: { conditions: Condition[] } }).status;
    const others = node.status.conditions.filter(({ type }) => !conditions.some((one) => one.type === type));
    this.put(node.metadata.name, { conditions: [...others, ...conditions] });
    return { status: 200, body: this.nodes.get(node.metadata.name) };
  }

  #tell(path: string, type: string, object: object): void {
    const event = { version: this.#version, path, type, object: structuredClone(object) };
    this.#log.push(event);
    for (const watch of [...this.watches])
      if (this.#pathOf.get(watch) === path) watch.line({ type, object: event.object });
  }
}

function keyOf({ metadata: { namespace, name } }: FakeObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** One agent's way to it. */
class MemoryApi implements KubernetesApi {
  readonly server = 'https://192.0.2.200:6443';
  readonly #server: FakeApiServer;
  readonly #clock: Clock;

  constructor(server: FakeApiServer, clock: Clock) {
    this.#server = server;
    this.#clock = clock;
  }

  ask(request: ApiRequest, done: (answer: Answer) => void): Pending {
    return this.#clock.after(1, () => {
      const answer = this.#server.answer(request);
      done(answer);
    });
  }

  watch(path: string, { line, end }: WatchListener): Pending {
    let isOver = false;
    const watch: ServedWatch = {
      line: (value) => {
        if (!isOver) line(value);
      },
      end: (answer) => {
        if (!isOver) end(answer);
        isOver = true;
      },
    };
    const timer = this.#clock.after(1, () => {
      const refusal = this.#server.watch(path, watch);
      if (refusal) watch.end(refusal);
    });
    return {
      cancel: () => {
        isOver = true;
        timer.cancel();
        this.#server.watches.delete(watch);
      },
    };
  }

  close(): void {}
}
