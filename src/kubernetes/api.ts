/**
 * The port to a Kubernetes API server: single requests, and watches that tell of changes line by line. On Linux it is HTTPS
 * (https-api.ts); tests have one in memory, and a server that speaks the protocol. Bodies are plain values that nobody has
 * looked at yet: what they hold came over the network.
 */
export interface ApiRequest {
  readonly method: 'GET' | 'PATCH';
  /** With the query; every part that came from elsewhere is encoded. */
  readonly path: string;
  /** Of PATCH: a strategic merge patch. */
  readonly body?: object;
}

export type Answer =
  | {
      /** Of HTTP. */
      readonly status: number;
      /** Undefined where there was none that can be read. */
      readonly body: unknown;
      /** How long the server asks to be left alone. */
      readonly retryAfterMs?: number;
    }
  /** There was no answer, or it broke off. */
  | { readonly error: string };

/** Nothing is called before `watch` has returned. */
export interface WatchListener {
  /** One change, or another sign of life. */
  line(value: unknown): void;
  /** Called once, last: status 200 where the server has ended the watch as it should. */
  end(answer: Answer): void;
}

/** Something under way; after `cancel` its listener hears nothing more. */
export interface Pending {
  cancel(): void;
}

export interface KubernetesApi {
  /** For people: where it is. */
  readonly server: string;
  /** `done` is called once, never before this returns. */
  ask(request: ApiRequest, done: (answer: Answer) => void): Pending;
  watch(path: string, listener: WatchListener): Pending;
  close(): void;
}
