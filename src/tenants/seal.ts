/** What callers keep for the gateway and bring back: only this installation can read it, and only for the tenant it was made for. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

export interface Seal {
  close (tenant: string, text: string): string
  /** Null for what was changed, made elsewhere, or made for another tenant. */
  open (tenant: string, sealed: string): string | null
}

const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Tells what is ours from what a provider sealed. */
const MARK = 'tgs1.'

/** @param purpose keeps what is sealed for one thing from being taken for another */
export function createSeal (pepper: Buffer, purpose: string): Seal {
  const key = Buffer.from(hkdfSync('sha256', pepper, '', `torchgate ${purpose}`, 32))
  return {
    close (tenant, text) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(tenant))
      const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return MARK + Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')
    },
    open (tenant, sealed) {
      const bytes = Buffer.from(sealed.slice(MARK.length), 'base64url')
      if (!isSealed(sealed) || bytes.length < NONCE_BYTES + TAG_BYTES) return null
      const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES))
      decipher.setAAD(Buffer.from(tenant)).setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
      try {
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString('utf8')
      } catch {
        // The tag does not fit: not ours, or not as we wrote it.
        return null
      }
    }
  }
}

/** Whether it was sealed by a gateway like this one, whichever. */
export function isSealed (text: string): boolean { return text.startsWith(MARK) }
