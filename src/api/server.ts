/** The control sockets: HTTP and JSON for root, or for whom the configuration lets in. Routes are in control-app.ts. */
import { createServer } from 'node:http';
import type { Logger } from '../log/logger.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { PageReport } from '../readmodel/reports.ts';
import type { Commands } from './commands.ts';
import { serveLate } from './late-server.ts';
import { listenOnUnixSocket } from './unix-socket.ts';

/** Each container that a runtime starts asks over one of its own, and a node may start hundreds at once. */
const MAX_CONNECTIONS = 512;
const MAX_READING_CONNECTIONS = 64;

export interface ApiServer {
  /** Ends streams, stops answering and removes the socket. */
  close(): Promise<void>;
}

/** Starts the API on the unix socket at `path`. Throws AGENT_RUNNING, SOCKET_UNUSABLE. */
export async function startApiServer(options: {
  readonly path: string;
  /** The group that may open it; undefined: its owner alone. */
  readonly gid: number | undefined;
  readonly model: ReadModel;
  /** Where the web page is; absent: this agent has none. */
  readonly page?: () => PageReport;
  /** Undefined: the socket is for reading only. */
  readonly commands: Commands | undefined;
  readonly log: Logger;
}): Promise<ApiServer> {
  const { path, gid, model, page, commands, log } = options;
  const server = createServer();
  const api = serveLate(
    server,
    commands === undefined ? MAX_READING_CONNECTIONS : MAX_CONNECTIONS,
    async () => {
      const { controlApp } = await import('./apps.ts');
      return controlApp({ server, model, page, commands, log });
    },
    (error) => log.error({ err: error }, 'the control API cannot be loaded'),
  );
  const key = commands === undefined ? 'api.readOnlySocket' : 'node.socket';
  await listenOnUnixSocket(server, { path, gid, key });
  return api;
}
