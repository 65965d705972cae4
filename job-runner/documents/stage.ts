/** A step of document-processing, and why it was not taken. */
export interface Stage {
  readonly stage: 'extract' | 'analyse' | 'store';
  /** `kept`: done by an earlier attempt. */
  readonly status: 'done' | 'kept' | 'skipped';
  readonly reason?: string;
}
