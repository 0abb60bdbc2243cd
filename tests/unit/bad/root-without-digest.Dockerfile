FROM nvcr.io/nvidia/cuda:13.0.0-base-ubuntu24.04 AS cuda
FROM cuda
FROM debian:bookworm
