/**
 * Who asks for what, read from headers. A header may come once: a client that adds a second `x-tollgate-tenant-id` behind its gateway's
 * back is refused, not averaged. What is no valid value is refused by the header's name; nothing is guessed where money depends on it.
 */
import type { IncomingMessage } from 'node:http';
import { isUtf8 } from 'node:buffer';
import { AUTHORIZE_HEADER_FIELDS, defaultAuthorizeHeader, type AuthorizeHeaderField, type AuthorizeHeaders } from '#libs/metering/index.js';
import { DomainError, type FieldProblem } from '#libs/kernel/index.js';

const COUNTS: ReadonlySet<AuthorizeHeaderField> = new Set(['input_tokens', 'max_output_tokens']);
const BEARER = /^Bearer +/i;

export interface HeaderQuestion {
  /** By field of the body of `POST /v1/authorize`. */
  readonly fields: Readonly<Record<string, string | number>>;
  /** Whether the gateway can do nothing but let the call pass as it is. */
  readonly asAskedOnly: boolean;
  /** The header that each field was read from. */
  readonly headerOf: (field: string) => string;
}

/** @throws DomainError request.invalid_header naming the header and the rule */
export function readQuestionHeaders(headers: Pick<IncomingMessage, 'headersDistinct'>['headersDistinct'], names: AuthorizeHeaders): HeaderQuestion {
  const headerOf = (field: AuthorizeHeaderField): string => names[field] ?? defaultAuthorizeHeader(field);
  const fields: Record<string, string | number> = {};
  const problems: FieldProblem[] = [];
  let asAskedOnly = false;
  for (const field of AUTHORIZE_HEADER_FIELDS) {
    const header = headerOf(field);
    const sent = new Set((headers[header] ?? []).filter((value) => value !== ''));
    if (sent.size > 1) problems.push({ path: header, message: 'must be sent once' });
    const [value] = sent;
    if (sent.size !== 1 || value === undefined) continue;
    const text = decoded(value);
    if (field === 'downgrade') {
      if (text !== 'follow' && text !== 'never') problems.push({ path: header, message: 'must be "follow" or "never"' });
      asAskedOnly = text === 'never';
    } else fields[field] = COUNTS.has(field) && /^\d{1,15}$/.test(text) ? Number(text) : field === 'api_key' ? text.replace(BEARER, '') : text;
  }
  if (problems.length > 0) throw invalidHeaders(problems);
  return { fields, asAskedOnly, headerOf: (field) => headerOf(field as AuthorizeHeaderField) };
}

export function invalidHeaders(errors: readonly FieldProblem[]): DomainError {
  const [first] = errors;
  const publicMessage = first === undefined ? 'a header cannot be read' : `${first.path} ${first.message}`;
  return new DomainError({ code: 'request.invalid_header', kind: 'invalid', publicMessage, errors });
}

/** Node reads header bytes as Latin-1; ids are UTF-8. */
function decoded(value: string): string {
  const bytes = Buffer.from(value, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : value;
}

/** The reverse, for a value of ours that is put into a header. */
export function encodedHeader(value: string): string {
  return Buffer.from(value, 'utf8').toString('latin1');
}
