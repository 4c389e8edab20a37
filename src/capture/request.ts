/** What is asked for: by a person, with names; and then of each node, with addresses. */

import { z } from '../zod.ts';
import { filterSchema, SIDES } from './filter.ts';

export const MAX_SECONDS = 3600;
export const DEFAULT_SECONDS = 60;
export const MAX_BYTES = 1024 ** 3;
export const DEFAULT_BYTES = 64 * 1024 ** 2;
export const MAX_SNAP_BYTES = 0x4_0000;

const limits = {
  seconds: z.number().min(0.1).max(MAX_SECONDS),
  /** Of the whole file. */
  bytes: z.number().int().min(1024).max(MAX_BYTES),
  /** Of each packet. */
  snapBytes: z.number().int().min(14).max(MAX_SNAP_BYTES),
};

/** `NAME`, or `NODE/NAME`. */
const names = z.array(z.string().min(1).max(130)).max(64);

export const captureRequest = z
  .strictObject({
    seconds: limits.seconds.default(DEFAULT_SECONDS),
    bytes: limits.bytes.default(DEFAULT_BYTES),
    snapBytes: limits.snapBytes.default(MAX_SNAP_BYTES),
    /** On every node that lets it be done. */
    all: z.boolean().default(false),
    sides: z
      .array(z.enum(SIDES))
      .min(1)
      .max(SIDES.length)
      .default([...SIDES]),
    pods: names.default([]),
    peers: names.default([]),
    protocols: filterSchema.shape.protocols.default([]),
    ports: filterSchema.shape.ports.default([]),
    reasons: filterSchema.shape.reasons.default([]),
  })
  .describe(
    `the body may have seconds (${MAX_SECONDS} at most), bytes, snapBytes, all, sides, pods, peers, protocols, ports and reasons`,
  );
export type CaptureRequest = Readonly<z.output<typeof captureRequest>>;
export type CaptureWishes = Readonly<z.input<typeof captureRequest>>;

/** What a node is asked by another one. */
export const nodeRequest = z.strictObject({ ...limits, filter: filterSchema });
export type NodeRequest = Readonly<z.output<typeof nodeRequest>>;
