/** What a plugin says when it fails: the codes of the CNI specification, section 5, and those that are our own. */

export const CNI_ERROR = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  undecodable: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  /** STATUS: no ADD can be served. */
  unavailable: 50,
  /** STATUS: nor may the containers that are there reach others. */
  unavailableAndLimited: 51,
  /** From 100 on they are the plugin's own: the agent could not do it. */
  agent: 100,
  /** CHECK: the container's network is not as it was made. */
  checkFailed: 101,
} as const;
export type CniErrorCode = (typeof CNI_ERROR)[keyof typeof CNI_ERROR];

export class CniError extends Error {
  readonly code: CniErrorCode;
  /** What the reader can do, or what exactly was wrong. */
  readonly details: string | undefined;

  constructor(code: CniErrorCode, message: string, details?: string) {
    super(message);
    this.code = code;
    this.details = details;
  }
}
