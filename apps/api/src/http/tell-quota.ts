/**
 * What was booked by hand counts for the next decision of this process: whoever grants credit and then asks gets the new answer, and
 * need not wait for the next round of the relay. A failure only means waiting for that round.
 */
import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { from, mergeMap, type Observable } from 'rxjs';
import { Logger } from '#libs/platform/logging/logger.js';
import { RelayBalances } from '#libs/quota/index.js';

@Injectable()
export class TellQuota implements NestInterceptor {
  constructor(
    private readonly relay: RelayBalances,
    private readonly logger: Logger,
  ) {}

  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(mergeMap((answer: unknown) => from(this.tell().then(() => answer))));
  }

  private async tell(): Promise<void> {
    try {
      await this.relay.execute();
    } catch (error) {
      this.logger.warn({ error }, 'the quota state hears of a booking with the next round of the relay');
    }
  }
}
