/**
 * Who may look at the web page, and under which names of this host. On the loopback address anybody on the host can connect:
 * without a token they see the page with pseudonyms. Elsewhere there is a page with TLS and a token only. A site that has its
 * name point to this host's address (DNS rebinding) is told apart by the Host header, which has its own name.
 */
import { createHash, randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { errorMessage, WarrenError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import type { PageReport } from '../readmodel/reports.ts';

const LEAST_TOKEN_CHARACTERS = 16;
const MOST_TOKEN_CHARACTERS = 4096;

export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface PageOptions {
  /** Of `api` in the configuration; undefined: nothing listens. */
  readonly listen: HostPort | undefined;
  readonly tls: TlsFiles | undefined;
  /** What `api.tokenFile` holds. */
  readonly token: string | undefined;
}

export class PageAccess {
  readonly #options: PageOptions;
  readonly #certificate: X509Certificate | undefined;
  /** For those who may ask on a control socket: `warren ui`. */
  readonly #ownToken = randomBytes(24).toString('base64url');
  #refusal: string | undefined;

  constructor(options: PageOptions) {
    const { listen, tls, token } = options;
    this.#options = options;
    this.#certificate = tls && new X509Certificate(tls.cert);
    if (listen === undefined) this.#refusal = 'api.listen is off';
    else if (!isLoopback(listen.host) && (tls === undefined || token === undefined)) {
      this.#refusal = `api.listen is ${formatHostPort(listen)}, and elsewhere than on the loopback address a page needs api.tls and api.tokenFile`;
    }
  }

  /** Why there is no page; undefined: there is one. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /** Nothing is shown without a token. */
  get needsToken(): boolean {
    return this.#options.listen !== undefined && !isLoopback(this.#options.listen.host);
  }

  get url(): string {
    const { listen, tls } = this.#options;
    const { host, port } = listen!;
    const isWildcard = host === '0.0.0.0' || host === '::';
    return `${tls ? 'https' : 'http'}://${formatHostPort({ host: isWildcard ? hostname() : host, port })}/ui/`;
  }

  /** `why` there is none after all. */
  failed(why: string): void {
    this.#refusal = why;
  }

  report(): PageReport {
    return this.#refusal === undefined
      ? { url: this.url, token: this.#ownToken }
      : { url: null, reason: this.#refusal };
  }

  /** Whether `header`, the request's Host, names this host and not a site of somebody else's. */
  isOwnHost(header: string | undefined): boolean {
    const name = hostOf(header);
    if (name === undefined) return false;
    if (isLoopback(name)) return true;
    const { listen } = this.#options;
    if (listen === undefined || isLoopback(listen.host)) return false;
    if (name === listen.host.toLowerCase() || name === hostname().toLowerCase()) return true;
    const isAddress = name.includes(':') || /^[\d.]+$/.test(name);
    const certificate = this.#certificate;
    if (certificate === undefined) return false;
    return (isAddress ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined;
  }

  /** Whether `authorization`, the request's header, has a token that counts. Throws TOKEN_WRONG if it has another one. */
  hasToken(authorization: string | undefined): boolean {
    if (authorization === undefined) return false;
    const given = /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
    const { token } = this.#options;
    if (given !== '' && (sameText(given, this.#ownToken) || (token !== undefined && sameText(given, token))))
      return true;
    throw new WarrenError('TOKEN_WRONG', 'this token is not, or no longer, one of this agent', {
      hint: 'On the node, `warren ui` gives a link that is good until the agent ends; or use the token of api.tokenFile.',
    });
  }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** Name or address in a Host header, without port and brackets. */
function hostOf(header: string | undefined): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s/@]+))(?::\d{1,5})?$/i.exec(header ?? '');
  return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, '');
}

/** Takes as long whatever differs. */
function sameText(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

/** Throws API_TLS_FILES. */
export function readTlsFiles(files: { readonly certFile: string; readonly keyFile: string }): TlsFiles {
  try {
    const tls = { cert: readFileSync(files.certFile), key: readFileSync(files.keyFile) };
    // What is wrong with it shows now, and not at the first request.
    new X509Certificate(tls.cert);
    return tls;
  } catch (error) {
    throw new WarrenError('API_TLS_FILES', `api.tls: ${errorMessage(error)}`, {
      hint: 'certFile and keyFile are PEM files: the certificate (with those above it), and its key.',
      cause: error,
    });
  }
}

/** Throws API_TOKEN_FILE. */
export function readTokenFile(path: string, log: Logger): string {
  const refuse = (why: string, cause?: unknown) =>
    new WarrenError('API_TOKEN_FILE', `api.tokenFile: ${why}`, {
      hint: 'Make one with: (umask 077; openssl rand -hex 32 > FILE)',
      cause,
    });
  let text: string;
  let mode: number;
  try {
    text = readFileSync(path, 'utf8').trim();
    mode = statSync(path).mode;
  } catch (error) {
    throw refuse(errorMessage(error), error);
  }
  if ((mode & 0o022) !== 0) throw refuse(`others than the owner may change ${path}`);
  if ((mode & 0o044) !== 0) log.warn({ path }, 'others than the owner may read api.tokenFile');
  if (text.length < LEAST_TOKEN_CHARACTERS || text.length > MOST_TOKEN_CHARACTERS || /\s/.test(text)) {
    throw refuse(`${path} must hold one word of ${LEAST_TOKEN_CHARACTERS} characters or more`);
  }
  return text;
}
