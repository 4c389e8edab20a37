/**
 * An HTTP server that listens at once and loads what answers with its first request. The agent's start and memory do
 * not pay for fastify, which most agents are asked through only later; a request that comes first waits for it.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { ErrorReport } from '../readmodel/reports.ts';

/** For a client to get its whole request across. Answers, and streams of them, may take longer. */
const REQUEST_TIMEOUT_MS = 10_000;

const NOT_LOADED: ErrorReport = {
  code: 'INTERNAL',
  message: 'the agent cannot load the part of it that answers',
  hint: "Was warren installed anew under an agent that runs? Then restart it. The agent's log has the details.",
};

/** What answers requests, once it is loaded. */
export interface LoadedApp {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Ends the streams that are open; other requests are left to the server. */
  close(): void;
}

/**
 * Lets `load` make what answers, when `server` is asked for the first time; again if that fails. Connections beyond
 * `maxConnections` are closed as they come.
 */
export function serveLate(
  server: Server,
  maxConnections: number,
  load: () => Promise<LoadedApp>,
  onFailure: (error: unknown) => void,
): { close(): Promise<void> } {
  server.maxConnections = maxConnections;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  let app: LoadedApp | undefined;
  let loading: Promise<LoadedApp> | undefined;
  let isClosed = false;

  const answerLater = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    loading ??= load();
    try {
      app = await loading;
    } catch (error) {
      loading = undefined;
      onFailure(error);
      response.writeHead(500, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify(NOT_LOADED)}\n`);
      return;
    }
    // The client may have gone, or the server closed, meanwhile.
    if (!isClosed && !response.destroyed) app.handle(request, response);
  };
  server.on('request', (request, response) => {
    if (app !== undefined) app.handle(request, response);
    else void answerLater(request, response);
  });
  return {
    close: () => {
      isClosed = true;
      return new Promise((resolve) => {
        server.close(() => resolve());
        app?.close();
        // Those that were told of the end are done once their last bytes are out; the others wait for more requests.
        setImmediate(() => server.closeAllConnections());
      });
    },
  };
}
