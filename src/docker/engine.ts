/**
 * What only the engine's own API tells: how a network is called, and which endpoints there are. Asked over its socket; no
 * answer is waited for longer than ANSWER_MS, since the engine may be waiting for the driver meanwhile.
 */
import { request } from 'node:http';
import { z } from '../zod.ts';
import type { NetworkNames } from './driver.ts';

const ANSWER_MS = 1000;
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
const MAX_NAMES = 1024;
/** How Compose calls a network in its file, apart from the project. */
const COMPOSE_NETWORK = 'com.docker.compose.network';
const COMPOSE_PROJECT = 'com.docker.compose.project';
/** `--opt warren.network=NAME`: the network is to be called that on all hosts. */
const NAME_OPTION = 'warren.network';

const texts = z.record(z.string(), z.string()).nullish();
const network = z.object({
  Id: z.string(),
  Name: z.string(),
  Driver: z.string(),
  Labels: texts,
  Options: texts,
});
const detailed = network.extend({
  Containers: z.record(z.string(), z.object({ EndpointID: z.string() })).nullish(),
});

export class DockerEngine implements NetworkNames {
  readonly #socket: string;
  /** By network id; what was asked longest ago goes first. Bounded by MAX_NAMES. */
  readonly #names = new Map<string, string>();

  constructor(socket: string) {
    this.#socket = socket;
  }

  async nameOf(networkId: string): Promise<string> {
    const known = this.#names.get(networkId);
    if (known !== undefined) return known;
    const found = await this.#ask(`/networks/${networkId}`, network).catch(() => undefined);
    if (found === undefined) return networkId;
    const name = networkName(found);
    if (this.#names.size >= MAX_NAMES) this.forget([...this.#names.keys()][0]!);
    this.#names.set(networkId, name);
    return name;
  }

  forget(networkId: string): void {
    this.#names.delete(networkId);
  }

  /** Endpoints of running containers on networks of `driver`. Throws where the engine does not answer. */
  async endpoints(driver: string): Promise<Set<string>> {
    const networks = await this.#ask('/networks', z.array(network));
    const found = new Set<string>();
    for (const { Id } of networks.filter((one) => one.Driver === driver)) {
      const { Containers } = await this.#ask(`/networks/${Id}`, detailed);
      for (const { EndpointID } of Object.values(Containers ?? {})) found.add(EndpointID);
    }
    return found;
  }

  #ask<T extends z.ZodType>(path: string, schema: T): Promise<z.output<T>> {
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(ANSWER_MS);
      const asked = request(
        { socketPath: this.#socket, path, headers: { host: 'docker' }, signal },
        (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on('error', reject);
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > MAX_ANSWER_BYTES) asked.destroy(new Error('the answer is too large'));
            else chunks.push(chunk);
          });
          response.on('end', () => {
            try {
              if (response.statusCode !== 200) throw new Error(`the engine answers ${response.statusCode}`);
              resolve(schema.parse(JSON.parse(Buffer.concat(chunks).toString())));
            } catch (error) {
              reject(error);
            }
          });
        },
      );
      asked.on('error', reject);
      asked.end();
    });
  }
}

/** What the user wrote: Compose puts the project's name before it. */
export function networkName({
  Name,
  Labels,
  Options,
}: Omit<z.output<typeof network>, 'Id' | 'Driver'>): string {
  const option = Options?.[NAME_OPTION];
  if (option !== undefined) return option;
  const [project, key] = [Labels?.[COMPOSE_PROJECT], Labels?.[COMPOSE_NETWORK]];
  return key !== undefined && Name === `${project}_${key}` ? key : Name;
}
