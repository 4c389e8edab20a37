/**
 * The bodies of an engine's requests, as far as the driver reads them (libnetwork, drivers/remote/api and
 * ipams/remote/api). What an engine of another version adds is passed over.
 */
import { createHash } from 'node:crypto';
import { WarrenError } from '../errors.ts';
import { z } from '../zod.ts';

/** An engine's ids are 64 hexadecimal digits. */
const id = z.string().regex(/^[A-Za-z0-9]{1,128}$/);
/** Go writes what is empty as null. */
const text = z
  .string()
  .max(256)
  .nullish()
  .transform((value) => value ?? '');
const texts = z
  .record(z.string(), z.unknown())
  .nullish()
  .transform((all): Readonly<Record<string, unknown>> => all ?? {});
const pools = z
  .array(z.object({ Pool: text }))
  .max(16)
  .nullish()
  .transform((all) => all ?? []);

const createNetwork = z.object({ NetworkID: id, IPv4Data: pools, IPv6Data: pools, Options: texts });
const endpoint = z.object({ NetworkID: id, EndpointID: id });
const createEndpoint = endpoint.extend({
  Interface: z.object({ Address: text, AddressIPv6: text, MacAddress: text }).nullish(),
  Options: texts,
});
const join = endpoint.extend({ SandboxKey: text });
const pool = z.object({
  Pool: text,
  SubPool: text,
  V6: z
    .boolean()
    .nullish()
    .transform((value) => value ?? false),
});
const address = z.object({ PoolID: text, Address: text, Options: texts });

export const createNetworkRequest = reader(createNetwork);
export const endpointRequest = reader(endpoint);
export const createEndpointRequest = reader(createEndpoint);
export const joinRequest = reader(join);
export const poolRequest = reader(pool);
export const addressRequest = reader(address);
export const releaseAddressRequest = reader(z.object({ PoolID: text, Address: text }));

/** Of the inner end while it is in the node's own namespace; the engine renames it. */
export function innerInterfaceName(endpointId: string): string {
  return `wd${createHash('sha256').update(endpointId).digest('hex').slice(0, 12)}`;
}

/** Throws DOCKER_REQUEST. */
function reader<T extends z.ZodType>(schema: T): (body: unknown) => z.output<T> {
  return (body) => {
    const result = schema.safeParse(body);
    if (result.success) return result.data;
    const where = result.error.issues[0]?.path.join('.') || 'the body';
    throw new WarrenError('DOCKER_REQUEST', `${where} of the engine's request is not as it must be`);
  };
}
