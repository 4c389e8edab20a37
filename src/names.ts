/**
 * What names may look like: one rule for what people configure and for what nodes tell each other, so that a node whose
 * configuration is accepted is accepted by all others. Names end up in terminals, logs and file names.
 */

/** A node's or static peer's name: a host name as one label or several. Underscores are common in them. */
export const NODE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
/** The rule as the end of a sentence. */
export const NODE_NAME_RULE =
  '1 to 63 letters, digits, dots, underscores and hyphens, with a letter or digit at both ends';

/** What a Node of Kubernetes may be called: a DNS subdomain (RFC 1123). */
export const KUBERNETES_NODE_NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;
export const KUBERNETES_NODE_NAME_RULE =
  '1 to 253 lower-case letters, digits, dots and hyphens, with a letter or digit at both ends';

/** A pod's name. Every one of them is a `NODE_NAME` too, which is what nodes check in each other's lists of pods. */
export const POD_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
export const POD_NAME_RULE =
  '1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends';

/** What would move a terminal's cursor or turn its line around: controls, separators, bidirectional overrides. */
export const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

/**
 * Texts of an attachment, in UTF-16 units; all of them fit a message to other nodes. A container id and an interface
 * name have 80, a Kubernetes namespace and a pod's name 317.
 */
export const ATTACHMENT_TEXT = { maxId: 256, maxName: 320, maxNetwork: 253, maxLabels: 32 } as const;
