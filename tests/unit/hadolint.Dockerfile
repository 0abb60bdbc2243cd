FROM --platform=linux/amd64 below
ARG API_TOKEN
ENV PASSWORD=x
LABEL built=now
RUN apt-get update && apt-get install -y --no-install-recommends curl
RUN pip install --no-cache-dir torch
RUN npm install yarn
