"""H.264 of raw samples (I_PCM) in which the fields of a frame are pictures of their own."""

WIDTH, HEIGHT = 64, 64
MACROBLOCKS_OF_A_FIELD = WIDTH // 16 * (HEIGHT // 32)


def interlaced_film(frame_count):
    """Return an elementary stream; frame k is grey, of luminance 16 + 5 k."""
    content = b""
    for number in range(frame_count):
        for bottom in (False, True):
            content += b"\0\0\0\1\x09\xf0"
            if number == 0 and not bottom:
                content += _unit(0x67, _sequence_parameters()) + _unit(0x68, _picture_parameters())
            content += _field(number, bottom, 16 + 5 * number)
    return content


def _sequence_parameters():
    main_profile_level_3 = _fixed(77, 8) + _fixed(0, 8) + _fixed(30, 8)
    # sps id, log2_max_frame_num - 4, pic_order_cnt_type 2, one reference frame without gaps
    frames = _exp_golomb(0) + _exp_golomb(0) + _exp_golomb(2) + _exp_golomb(1) + "0"
    size = _exp_golomb(WIDTH // 16 - 1) + _exp_golomb(HEIGHT // 32 - 1)
    # frame_mbs_only 0, mb_adaptive_frame_field 0, direct_8x8_inference 1, no cropping, no VUI
    return main_profile_level_3 + frames + size + "00100"


def _picture_parameters():
    # pps id, sps id, CAVLC, no order of fields, one slice group, one reference of each list
    references = _exp_golomb(0) * 2 + "00" + _exp_golomb(0) * 3
    # no weights, initial qp 26, no offset of chrominance; no deblocking control
    return references + "000" + _exp_golomb(0) * 3 + "000"


def _field(number, bottom, luminance):
    is_idr = number == 0 and not bottom
    # first macroblock, I slices only, pps id, frame_num, field_pic_flag
    bits = _exp_golomb(0) + _exp_golomb(7) + _exp_golomb(0) + _fixed(number % 16, 4) + "1"
    bits += str(int(bottom)) + (_exp_golomb(0) + "00" if is_idr else "0") + _exp_golomb(0)
    for _ in range(MACROBLOCKS_OF_A_FIELD):
        bits += _exp_golomb(25)
        bits += "0" * (-len(bits) % 8)
        bits += _fixed(luminance, 8) * 256 + _fixed(128, 8) * 128
    return _unit(0x65 if is_idr else 0x61, bits)


def _fixed(value, length):
    return format(value, f"0{length}b")


def _exp_golomb(value):
    code = format(value + 1, "b")
    return "0" * (len(code) - 1) + code


def _unit(header, bits):
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    escaped, zeros = bytearray(), 0
    for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([header]) + bytes(escaped)
