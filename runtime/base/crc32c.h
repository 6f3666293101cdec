/*
 * CRC-32C (Castagnoli), the checksum of TFRecord files: reflected polynomial 0x82f63b78.
 */
#ifndef GR_BASE_CRC32C_H
#define GR_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of "123456789" it is 0xe3069283. */
uint32_t gr_crc32c(const void *data, size_t size);

#endif
