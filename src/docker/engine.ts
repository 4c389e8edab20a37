/**
 * What only the engine's own API tells: how networks and containers are called, and which endpoints there are. Asked over
 * its socket; no answer is waited for longer than ANSWER_MS, since the engine may be waiting for the driver meanwhile.
 */
import { request } from 'node:http';
import { z } from '../zod.ts';

const ANSWER_MS = 1000;
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

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
const container = z.object({
  Id: z.string(),
  Names: z.array(z.string()).nullish(),
  Labels: texts,
  Ports: z.array(z.object({ PrivatePort: z.number(), Type: z.string() })).nullish(),
  /** For people: `Up 5 minutes (healthy)`. */
  Status: z.string().nullish(),
  NetworkSettings: z
    .object({ Networks: z.record(z.string(), z.object({ EndpointID: z.string() }).nullable()).nullish() })
    .nullish(),
});

const inspected = z.object({
  NetworkSettings: z.object({
    Networks: z.record(
      z.string(),
      z.object({ EndpointID: z.string(), Aliases: z.array(z.string()).nullish() }).nullable(),
    ),
  }),
});

export type EngineNetwork = z.output<typeof network>;
export type EngineContainer = z.output<typeof container>;

/** Calls of the API throw where the engine does not answer, or not as it should. */
export class DockerEngine {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  network(id: string): Promise<EngineNetwork> {
    return this.#ask(`/networks/${id}`, network);
  }

  /** Those of a driver. */
  async networks(driver: string): Promise<EngineNetwork[]> {
    const all = await this.#ask('/networks', z.array(network));
    return all.filter((one) => one.Driver === driver);
  }

  /** Running ones. */
  containers(): Promise<EngineContainer[]> {
    return this.#ask('/containers/json', z.array(container));
  }

  /** Other names of a container in the network of one of its endpoints. */
  async aliases(containerId: string, endpointId: string): Promise<readonly string[]> {
    const { NetworkSettings } = await this.#ask(`/containers/${containerId}/json`, inspected);
    const all = Object.values(NetworkSettings.Networks);
    return all.find((one) => one?.EndpointID === endpointId)?.Aliases ?? [];
  }

  /** Endpoints of running containers on networks of `driver`. */
  async endpoints(driver: string): Promise<Set<string>> {
    const found = new Set<string>();
    for (const { Id } of await this.networks(driver)) {
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
