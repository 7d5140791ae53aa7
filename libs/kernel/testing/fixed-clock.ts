import { Clock } from '../clock.js';

/** A clock that stands still until it is told to move. */
export class FixedClock extends Clock {
  private at: Date;

  constructor(at: Date | string = '2026-11-22T12:00:00.000Z') {
    super();
    this.at = new Date(at);
  }

  override now(): Date {
    return new Date(this.at);
  }

  advance(ms: number): void {
    this.at = new Date(this.at.getTime() + ms);
  }

  set(at: Date | string): void {
    this.at = new Date(at);
  }
}
