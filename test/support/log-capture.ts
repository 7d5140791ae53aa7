import { createLogger, type Logger } from '#libs/platform/logging/logger.js';

/** A real logger at the most talkative level, whose lines a test can read. */
export function captureLog(): { logger: Logger; text(): string } {
  const lines: string[] = [];
  const logger = createLogger({ level: 'trace', destination: { write: (line: string) => void lines.push(line) } });
  return { logger, text: () => lines.join('') };
}
