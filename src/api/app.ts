/**
 * The fastify application behind the control socket, and what all our HTTP answers have in common: JSON, bounded
 * bodies, errors that say what to do. Nothing that is loaded at the agent's start may import this file but by
 * `import()` (late-server.ts). Requests are checked with zod, and answers are our own types, so fastify's own schema
 * compilers are not used: scripts/build.mjs leaves them out of the bundle.
 */
import type { Server } from 'node:http';
import {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  fastify,
} from 'fastify';
import { httpStatusOf } from '../error-codes.ts';
import { WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import type { ErrorReport } from '../readmodel/reports.ts';
import type { z } from '../zod.ts';

/** The largest request is a pod's name and a path. */
const MAX_BODY_BYTES = 64 * 1024;
/** Of a name in a path. Node takes no longer head of a request: a name that is too long is one that is unknown. */
const MAX_PARAM_CHARACTERS = 16 * 1024;
/** What our routes take; other methods are nowhere possible. */
const METHODS = ['GET', 'POST', 'DELETE'] as const;

/** An application without routes. It never listens: `server` is bound by whoever owns it. */
export function newApp(server: Server, log: Logger): FastifyInstance {
  const app = fastify<Server>({
    serverFactory: () => server,
    bodyLimit: MAX_BODY_BYTES,
    routerOptions: {
      maxParamLength: MAX_PARAM_CHARACTERS,
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
    },
    // Its types know of no other compilers than fastify's own.
    schemaController: COMPILERS as unknown as NonNullable<FastifyServerOptions['schemaController']>,
    frameworkErrors: (error, _request, reply) => sendError(error, reply, log),
    clientErrorHandler: (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
      else socket.destroy();
    },
  });
  // The body is JSON whatever the client calls it; `curl -d` calls it a form.
  app.removeAllContentTypeParsers();
  // A client that always names JSON, also where it sends nothing, is served as one that does not.
  app.addContentTypeParser('*', { parseAs: 'string' }, async (_request: FastifyRequest, text: string) =>
    text === '' ? undefined : parseJson(text),
  );
  app.setReplySerializer((value) => `${JSON.stringify(value)}\n`);
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
  });
  app.setErrorHandler((error, _request, reply) => sendError(error, reply, log));
  app.setNotFoundHandler((request) => {
    throw nowhere(app, request);
  });
  return app;
}

const COMPILERS = {
  compilersFactory: { buildValidator: () => zodValidator, buildSerializer: () => () => JSON.stringify },
};

/** What a failed check of `schema` says is its description. */
function zodValidator({ schema }: { readonly schema: unknown }): (value: unknown) => unknown {
  const type = schema as z.ZodType;
  return (value) => {
    const result = type.safeParse(value);
    if (result.success) return { value: result.data };
    return { error: new WarrenError('BAD_REQUEST', type.description ?? 'the request is not as it must be') };
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new WarrenError('BAD_REQUEST', 'the body is not JSON');
  }
}

/** A WarrenError becomes an ErrorReport; anything else is a bug, of which the client is only told. */
function sendError(thrown: unknown, reply: FastifyReply, log: Logger): void {
  const error = thrown instanceof WarrenError ? thrown : ofFastify(thrown);
  if (error === undefined) log.error({ err: thrown }, 'the control API failed');
  const report: ErrorReport = error
    ? {
        code: error.code,
        message: error.message,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      }
    : {
        code: 'INTERNAL',
        message: 'the agent failed to answer, which is a bug in warren',
        hint: "The agent's log has the details.",
      };
  reply.code(httpStatusOf(report.code)).type('application/json').send(report);
}

/** What fastify itself refuses, in our words; undefined if that is no fault of the client's. */
function ofFastify(thrown: unknown): WarrenError | undefined {
  const { code, statusCode, message } = thrown as Partial<FastifyError>;
  if (code === undefined || !code.startsWith('FST_') || statusCode === undefined || statusCode >= 500) {
    return undefined;
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new WarrenError('BODY_TOO_LARGE', `a request may have ${MAX_BODY_BYTES} bytes`);
  }
  if (code === 'FST_ERR_BAD_URL') return new WarrenError('BAD_REQUEST', 'the path has a broken % sequence');
  return new WarrenError('BAD_REQUEST', message ?? 'the request is not as it must be');
}

function nowhere(app: FastifyInstance, { method, url }: FastifyRequest): WarrenError {
  const path = url.split('?', 1)[0]!;
  const possible = METHODS.filter((one) => app.findRoute({ method: one, url: path }) !== null);
  if (possible.length > 0) {
    return new WarrenError(
      'METHOD_NOT_ALLOWED',
      `${method} is not possible on ${path}, only ${possible.join(' and ')}`,
    );
  }
  return new WarrenError('NOT_FOUND', `there is nothing at ${path}`, {
    hint: 'Is the warren command of another version than the agent? `warren --version` tells.',
  });
}
