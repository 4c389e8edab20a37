/** What answers the checks that need somebody at the other end, and how it is asked for. */
import { z } from '../zod.ts';

export const MAX_RESPONDER_SECONDS = 3600;
export const TOKEN_BYTES = 16;
/** The first byte behind the token: what a connection is for. */
export const MODE = { echo: 0x65, sink: 0x73 } as const;

/** What is asked of a node. */
export const responderRequest = z.strictObject({ seconds: z.number().min(1).max(MAX_RESPONDER_SECONDS) });

/** An address on which a node or a pod answers. */
export const responderEndpoint = z.object({
  pod: z.string().max(64).nullable(),
  address: z.string().max(64),
  port: z.number().int().min(1).max(65_535),
});
export type ResponderEndpoint = Readonly<z.infer<typeof responderEndpoint>>;

const MAX_ENDPOINTS = 1024;

/** What a node answers: where, and what a connection has to begin with, so that nobody else uses it. */
export const responderAnswer = z.object({
  token: z.string().regex(/^[0-9a-f]{32}$/),
  endpoints: z.array(responderEndpoint).max(MAX_ENDPOINTS),
});
export type ResponderAnswer = Readonly<z.infer<typeof responderAnswer>>;

/** What the program that answers is told on standard input. */
export interface ResponderSettings {
  readonly token: string;
  readonly seconds: number;
  readonly listenOn: readonly {
    readonly pod: string | null;
    readonly address: string;
    /** Undefined: where the program is started. */
    readonly netns: string | undefined;
  }[];
}
