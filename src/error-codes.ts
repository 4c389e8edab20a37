/**
 * Every code that a WarrenError may have, in one table, with the HTTP status that the API answers it with. Scripts
 * read codes: add, never rename. A code that is not here does not compile, and a test holds that each one is thrown.
 */

/** What the agent may answer with: whatever is thrown in its process. */
export const API_ERRORS = {
  // The request is not one.
  ADDRESS_OUTSIDE: 400,
  ATTACHMENT_INVALID: 400,
  BAD_REQUEST: 400,
  BODY_TOO_LARGE: 413,
  KEY_INVALID: 400,
  METHOD_NOT_ALLOWED: 405,
  POD_NAME_INVALID: 400,
  POD_NETNS_IS_NODE: 400,
  POD_NETNS_MISSING: 400,
  POD_NETNS_NAME_INVALID: 400,
  POLICY_INVALID: 400,

  // Whoever asks may not.
  READ_ONLY: 403,

  // There is no such thing.
  KEY_UNKNOWN: 404,
  MEMBER_UNKNOWN: 404,
  NOT_FOUND: 404,
  POD_UNKNOWN: 404,

  // As things are, it cannot be done.
  ADDRESS_TAKEN: 409,
  ATTACHMENT_EXISTS: 409,
  ATTACHMENT_INTERFACE_TAKEN: 409,
  KEY_EXISTS: 409,
  KEY_NONE: 409,
  KEY_NOT_EVERYWHERE: 409,
  KEY_PRIMARY: 409,
  LEAVE_PODS: 409,
  MEMBER_ALIVE: 409,
  MEMBER_AMBIGUOUS: 409,
  POD_EXISTS: 409,
  POD_INTERFACE_EXISTS: 409,
  POD_INTERFACE_GONE: 409,
  POD_NETNS_EXISTS: 409,
  POD_NETNS_TAKEN: 409,
  POD_STATIC: 409,

  // Not now; it may be in a moment.
  ATTACHMENTS_CLOSED: 503,
  ATTACHMENT_BUSY: 503,
  NAMESPACE_THREAD_CLOSED: 503,
  NAMESPACE_THREAD_LOST: 503,
  NO_SUBNET: 503,
  POD_NO_SUBNET: 503,
  WATCH_LIMIT: 503,

  // There is no room for more.
  ATTACHMENT_LIMIT: 507,
  KEY_LIMIT: 507,
  POD_LIMIT: 507,
  POD_SUBNET_EXHAUSTED: 507,

  // Another node did not do its part.
  INVENTORY_REQUEST: 502,
  RPC_CANCELLED: 502,
  RPC_REFUSED: 502,
  RPC_UNREACHABLE: 502,
  RPC_UNSUPPORTED: 502,

  // This host or its configuration does not let the agent do it. Most of these end an agent at its start.
  ADDRESS_INVALID: 500,
  AGENT_RUNNING: 500,
  API_LISTEN_FAILED: 500,
  ATTACHMENT_NO_GATEWAY: 500,
  CONFIG_INVALID: 500,
  CONFIG_UNREADABLE: 500,
  ENDPOINT_INVALID: 500,
  GOSSIP_BIND: 500,
  GROUP_UNKNOWN: 500,
  HOST_ANSWER_UNKNOWN: 500,
  HOST_ARGUMENT_INVALID: 500,
  HOST_COMMAND_FAILED: 500,
  HOST_NETLINK_FAILED: 500,
  IDENTITY_IN_USE: 500,
  IDENTITY_SEED: 500,
  KEY_FILE: 500,
  LEASE_MISFIT: 500,
  MTU_TOO_SMALL: 500,
  NETLINK_MALFORMED: 500,
  NOT_BUILT: 500,
  PLATFORM_UNSUPPORTED: 500,
  POD_NETNS_FORBIDDEN: 500,
  PREFIX_INVALID: 500,
  SOCKET_UNUSABLE: 500,
  STATE_CORRUPT: 500,
  STATE_FOREIGN: 500,
  STATE_INCOMPLETE: 500,
  STATE_UNREADABLE: 500,
  STATE_UNWRITABLE: 500,
  STATE_VERSION: 500,
  SYSCTL_READ_ONLY: 500,
  SYSCTL_UNKNOWN: 500,
  SYSCTL_UNREADABLE: 500,
  TOOL_MISSING: 500,
  TUN_LOST: 500,
  TUN_NAME_INVALID: 500,
  TUN_OFFLOAD: 500,
  TUN_LOCK_FAILED: 500,
  TUN_TAKEN: 500,
  UNDERLAY_ADDRESS_MISSING: 500,
  UNDERLAY_ADDRESS_UNKNOWN: 500,
  UNDERLAY_FAMILY: 500,
  UNDERLAY_IN_OVERLAY: 500,
  WORKER_ENDED: 500,
  WORKER_STUCK: 500,

  /** Anything that is no WarrenError: a bug in warren. */
  INTERNAL: 500,
} as const;

/** What only commands say: they ask an agent or work without one. */
export const COMMAND_ERRORS = [
  'AGENT_ANSWER_INVALID',
  'AGENT_ERROR',
  'AGENT_FORBIDDEN',
  'AGENT_NOT_RUNNING',
  'AGENT_SILENT',
  'BENCH_INCOMPLETE',
  'BENCH_OUTPUT_FAILED',
  'BENCH_SERVER_FAILED',
  'BENCH_SYSTEM_FAILED',
  'IPERF_FAILED',
  'KEY_FILE_EXISTS',
  'KEY_FILE_UNWRITABLE',
  'LAB_AGENT_ENDED',
  'LAB_AGENT_RUNS',
  'LAB_AGENT_STAYS',
  'LAB_COMMAND_EMPTY',
  'LAB_HOST_INVALID',
  'LAB_IN_USE',
  'LAB_NAME_INVALID',
  'LAB_NODE_UNKNOWN',
  'LAB_POD_UNKNOWN',
  'LAB_SIZE_INVALID',
  'LAB_TIMEOUT',
  'LAB_UNKNOWN',
  'NOT_ROOT',
  'POD_MISSING',
  'ROUND_TRIP_FAILED',
  'SIMULATION_FAILED',
  'USAGE',
] as const;

export type ApiErrorCode = keyof typeof API_ERRORS;
export type ErrorCode = ApiErrorCode | (typeof COMMAND_ERRORS)[number];

/** The HTTP status of an error's code; 500 for one of another version, or that no agent throws. */
export function httpStatusOf(code: string): number {
  return Object.hasOwn(API_ERRORS, code) ? API_ERRORS[code as ApiErrorCode] : 500;
}
