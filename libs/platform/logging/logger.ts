/**
 * Logs are an allow-list: callers pass named fields, never a whole request, header map or payload. What slips through by name is redacted
 * here a second time, because a key in a log is a key given away.
 */
import { pino, type DestinationStream } from 'pino';

/** What code may do with a log; pino's own logger fits it. */
export abstract class Logger {
  abstract debug(fields: object, message: string): void;
  abstract info(fields: object, message: string): void;
  abstract warn(fields: object, message: string): void;
  abstract error(fields: object, message: string): void;
}

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const SECRET_FIELDS = ['authorization', 'key', 'secret', 'password', 'adminKey', 'x-api-key'];

/** A JSON-lines logger on standard output, or on `destination`. */
export function createLogger(input: { level: LogLevel; destination?: DestinationStream }): Logger {
  return pino(
    {
      level: input.level,
      base: null,
      redact: { paths: SECRET_FIELDS.flatMap((field) => [`["${field}"]`, `*["${field}"]`]), censor: '[redacted]' },
      serializers: { error: describeError },
    },
    input.destination ?? pino.destination(1),
  );
}

/** Name, message, code and stack of an error and its causes; never its other properties, which may quote a row or a payload. */
export function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { message: typeof error === 'string' ? error : 'a value that is no Error was thrown' };
  const code = (error as { code?: unknown }).code;
  return {
    name: error.name,
    message: error.message,
    ...(typeof code === 'string' ? { code } : {}),
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}
