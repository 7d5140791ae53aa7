import type { LoggedDecision } from './decision-log.js';

export interface DecisionFilter {
  readonly tenantId: string | undefined;
  readonly callId: string | undefined;
  readonly decision: 'allow' | 'downgrade' | 'block' | undefined;
  readonly from: Date | undefined;
  readonly decisionId: string | undefined;
  readonly limit: number;
  /** Id of the last row of the page before. */
  readonly before: string | null;
}

/** The log of decisions, newest first. */
export abstract class DecisionReader {
  abstract list(filter: DecisionFilter): Promise<LoggedDecision[]>;
}
